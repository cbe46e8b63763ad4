// Vectors whose lanes are networks, and the few functions that networks need of them, to float32's rounding.
// For g++ and clang++; without -ffast-math, so that NaN, infinities and subnormal numbers are what they are in torch.
#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float V __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4)));

static inline int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
static inline V all(float a) { return a - V{}; }
static inline I bits(V a) { I b; memcpy(&b, &a, sizeof b); return b; }
static inline V floats(I a) { V b; memcpy(&b, &a, sizeof b); return b; }

// NaN stays NaN; written as the processor's max and min are
static inline V at_least(V a, float low) { const V b = all(low); return b > a ? b : a; }
static inline V at_most(V a, float high) { const V b = all(high); return b < a ? b : a; }

static inline V magnitude(V a) { return floats(bits(a) & 0x7fffffff); }

static inline V root(V a) {
    V b;
    for (int i = 0; i < LANES; i++) b[i] = __builtin_sqrtf(a[i]);
    return b;
}

// exp(a), 0 below -87, infinite where float32 is: 2**n * exp(r), |r| <= log(2) / 2, a polynomial of degree 6.
// It holds 2 * exp(r), and the power is one less, so that n may be 128.
static inline V exponential(V a) {
    a = at_most(at_least(a, -87.0f), 89.0f);
    const V shifted = a * 1.44269504f + 12582912.0f;  // 1.5 * 2**23: n is in the lowest bits
    const V r = a - (shifted - 12582912.0f) * 0.693147181f;
    V p = all(2.0f / 720);
    p = p * r + 2.0f / 120;
    p = p * r + 2.0f / 24;
    p = p * r + 2.0f / 6;
    p = p * r + 1.0f;
    p = p * r + 2.0f;
    p = p * r + 2.0f;
    return p * floats((bits(shifted) << 23) + (126 << 23));
}

static inline V sigmoid(V z) { return 1.0f / (1.0f + exponential(-z)); }

// log(a): once per network and epoch, so that the C library's is good enough
static inline V logarithm(V a) {
    V b;
    for (int i = 0; i < LANES; i++) b[i] = __builtin_logf(a[i]);
    return b;
}

// The sum of many logarithms as that of a product, whose exponent is kept apart.
struct Logs {
    static constexpr int SCALE = 24;  // a factor times 2**24 is a normal number
    V product = all(1.0f), poison = {};
    I powers = {};

    // a factor from 0 to 2**100, or what it is to be at least, times 2**24
    inline void add(V factor, float least) {
        const V next = product * at_least(factor * float(1 << SCALE), least);
        poison += next * 0.0f;  // what is not finite is not lost
        powers += bits(next) >> 23;
        product = floats((bits(next) & 0x007fffff) | (127 << 23));
    }
    inline V sum(int64_t factors) const {
        const I power = powers - int32_t((127 + SCALE) * factors);
        return logarithm(product) + __builtin_convertvector(power, V) * 0.693147181f + poison;
    }
};

extern "C" int lanes() { return LANES; }
