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

// NaN stays NaN, as in the processor's max and min with these operands in this order; compilers would use two instructions
static inline V at_least(V a, float low) {
    const V b = all(low);
#ifdef __AVX__
    V c;
    asm("vmaxps %1, %2, %0" : "=v"(c) : "v"(a), "v"(b));
    return c;
#else
    return b > a ? b : a;
#endif
}
static inline V at_most(V a, float high) {
    const V b = all(high);
#ifdef __AVX__
    V c;
    asm("vminps %1, %2, %0" : "=v"(c) : "v"(a), "v"(b));
    return c;
#else
    return b < a ? b : a;
#endif
}

static inline V magnitude(V a) { return floats(bits(a) & 0x7fffffff); }

static inline V root(V a) {
    V b;
    for (int i = 0; i < LANES; i++) b[i] = __builtin_sqrtf(a[i]);
    return b;
}

// 2**(n - 1), where n is in the lowest bits
static inline V power(V n) { return floats((bits(n) << 23) + (126 << 23)); }

// log(a): once per network and epoch, so that the C library's is good enough
static inline V logarithm(V a) {
    V b;
    for (int i = 0; i < LANES; i++) b[i] = __builtin_logf(a[i]);
    return b;
}

// Two points at once: what is done to one does not wait for the other, and a processor does both meanwhile.
struct Pair {
    V a, b;
    Pair(V a, V b) : a(a), b(b) {}
    Pair(V both) : a(both), b(both) {}
    Pair(float both) : a(all(both)), b(all(both)) {}
};
struct Bits { I a, b; };

#define OF_PAIRS(op) \
    static inline Pair operator op(Pair x, Pair y) { return {x.a op y.a, x.b op y.b}; } \
    static inline Pair operator op(Pair x, V y) { return {x.a op y, x.b op y}; } \
    static inline Pair operator op(V x, Pair y) { return {x op y.a, x op y.b}; } \
    static inline Pair operator op(Pair x, float y) { return {x.a op y, x.b op y}; } \
    static inline Pair operator op(float x, Pair y) { return {x op y.a, x op y.b}; }
OF_PAIRS(+)
OF_PAIRS(-)
OF_PAIRS(*)
OF_PAIRS(/)
#undef OF_PAIRS
static inline Pair operator-(Pair x) { return {-x.a, -x.b}; }
static inline Bits operator>(Pair x, float y) { return {x.a > y, x.b > y}; }
static inline Bits operator<=(Pair x, float y) { return {x.a <= y, x.b <= y}; }
static inline V &operator+=(V &sum, Pair x) { return sum = sum + x.a + x.b; }
static inline Pair at_least(Pair x, float low) { return {at_least(x.a, low), at_least(x.b, low)}; }
static inline Pair at_most(Pair x, float high) { return {at_most(x.a, high), at_most(x.b, high)}; }
static inline Pair magnitude(Pair x) { return {magnitude(x.a), magnitude(x.b)}; }
static inline Pair root(Pair x) { return {root(x.a), root(x.b)}; }
static inline Pair power(Pair n) { return {power(n.a), power(n.b)}; }
static inline Pair logarithm(Pair x) { return {logarithm(x.a), logarithm(x.b)}; }

static inline V choose(I which, V x, V y) { return which ? x : y; }
static inline V choose(I which, float x, V y) { return which ? all(x) : y; }
static inline V choose(I which, V x, float y) { return which ? x : all(y); }
static inline V choose(I which, float x, float y) { return which ? all(x) : all(y); }
static inline Pair choose(Bits which, Pair x, Pair y) { return {choose(which.a, x.a, y.a), choose(which.b, x.b, y.b)}; }

// exp(a), 0 below -87, infinite where float32 is: 2**n * exp(r), |r| <= log(2) / 2. Its polynomial of degree 5 differs from
// exp by at most 1.1e-7 of it, which is less than Taylor's of degree 6; it holds 2 * exp(r), and the power is one less, so
// that n may be 128.
template <class T> static inline T exponential(T a) {
    const T clamped = at_most(at_least(a, -87.0f), 89.0f);
    const T shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2**23: n is in the lowest bits
    const T r = clamped - (shifted - 12582912.0f) * 0.693147181f;
    const T p = ((r * (2 * 0.00831244f) + 2 * 0.04189032f) * r + 2 * 0.16667116f) * r + 2 * 0.4999923f;
    return ((p * r + 2.0f) * r + 2.0f) * power(shifted);
}

template <class T> static inline T sigmoid(T z) { return 1.0f / (1.0f + exponential(-z)); }

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
    inline void add(Pair factors, float least) {
        add(factors.a, least);
        add(factors.b, least);
    }
    inline V sum(int64_t factors) const {
        const I power = powers - int32_t((127 + SCALE) * factors);
        return logarithm(product) + __builtin_convertvector(power, V) * 0.693147181f + poison;
    }
};

extern "C" int lanes() { return LANES; }
