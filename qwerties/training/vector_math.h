// Vectors whose lanes are networks, and the few functions that networks need, to float32's rounding.
// For g++ and clang++; without -ffast-math, so that NaN, infinities and subnormal numbers are what they are in torch.
#include <cstdint>
#include <cstring>

#define INLINE static inline __attribute__((always_inline))

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float V __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int32_t I __attribute__((vector_size(4 * LANES), aligned(4)));

INLINE int64_t least(int64_t a, int64_t b) { return a < b ? a : b; }
INLINE int64_t most(int64_t a, int64_t b) { return a > b ? a : b; }
INLINE V all(float a) { return a - V{}; }
INLINE I bits(V a) { I b; memcpy(&b, &a, sizeof b); return b; }
INLINE V floats(I a) { V b; memcpy(&b, &a, sizeof b); return b; }
INLINE V choose(I which, V x, V y) { return which ? x : y; }
INLINE V magnitude(V a) { return floats(bits(a) & 0x7fffffff); }
INLINE V power(V n) { return floats((bits(n) << 23) + (126 << 23)); }  // 2**(n - 1), n in the lowest bits

// NaN stays NaN, as in the processor's max and min with these operands in this order; compilers would use two instructions
INLINE V at_least(V a, float low) {
    const V b = all(low);
#ifdef __AVX__
    V c;
    asm("vmaxps %1, %2, %0" : "=v"(c) : "v"(a), "v"(b));
    return c;
#else
    return b > a ? b : a;
#endif
}
INLINE V at_most(V a, float high) {
    const V b = all(high);
#ifdef __AVX__
    V c;
    asm("vminps %1, %2, %0" : "=v"(c) : "v"(a), "v"(b));
    return c;
#else
    return b < a ? b : a;
#endif
}

// By the C library, lane by lane: once per weight or network in an epoch
INLINE V root(V a) {
    for (int i = 0; i < LANES; i++) a[i] = __builtin_sqrtf(a[i]);
    return a;
}
INLINE V logarithm(V a) {
    for (int i = 0; i < LANES; i++) a[i] = __builtin_logf(a[i]);
    return a;
}

// A value at each of N points: the points do not wait for one another, and a weight is read once for all of them.
#define EACH_POINT _Pragma("GCC unroll 8") for (int k = 0; k < N; k++)
template <int N> struct Tile {
    V v[N];
    Tile() = default;
    Tile(V same) { EACH_POINT v[k] = same; }
};
template <int N> struct Mask { I v[N]; };

#define OF_TILES template <int N> INLINE
#define ARITHMETIC(op) \
    OF_TILES Tile<N> operator op(Tile<N> x, Tile<N> y) { EACH_POINT x.v[k] = x.v[k] op y.v[k]; return x; } \
    OF_TILES Tile<N> operator op(Tile<N> x, V y) { EACH_POINT x.v[k] = x.v[k] op y; return x; } \
    OF_TILES Tile<N> operator op(V x, Tile<N> y) { EACH_POINT y.v[k] = x op y.v[k]; return y; } \
    OF_TILES Tile<N> operator op(Tile<N> x, float y) { EACH_POINT x.v[k] = x.v[k] op y; return x; } \
    OF_TILES Tile<N> operator op(float x, Tile<N> y) { EACH_POINT y.v[k] = x op y.v[k]; return y; }
ARITHMETIC(+)
ARITHMETIC(-)
ARITHMETIC(*)
ARITHMETIC(/)
OF_TILES Tile<N> operator-(Tile<N> x) { EACH_POINT x.v[k] = -x.v[k]; return x; }
OF_TILES V &operator+=(V &sum, Tile<N> x) { EACH_POINT sum += x.v[k]; return sum; }
OF_TILES Mask<N> operator>(Tile<N> x, float y) { Mask<N> m; EACH_POINT m.v[k] = x.v[k] > y; return m; }
OF_TILES Mask<N> operator<=(Tile<N> x, float y) { Mask<N> m; EACH_POINT m.v[k] = x.v[k] <= y; return m; }
OF_TILES Tile<N> choose(Mask<N> m, Tile<N> x, Tile<N> y) { EACH_POINT x.v[k] = choose(m.v[k], x.v[k], y.v[k]); return x; }
OF_TILES Tile<N> at_least(Tile<N> x, float low) { EACH_POINT x.v[k] = at_least(x.v[k], low); return x; }
OF_TILES Tile<N> at_most(Tile<N> x, float high) { EACH_POINT x.v[k] = at_most(x.v[k], high); return x; }
OF_TILES Tile<N> magnitude(Tile<N> x) { EACH_POINT x.v[k] = magnitude(x.v[k]); return x; }
OF_TILES Tile<N> power(Tile<N> n) { EACH_POINT n.v[k] = power(n.v[k]); return n; }

// exp(a), 0 below -87, infinite where float32 is: 2**n * exp(r), |r| <= log(2) / 2. Its polynomial of degree 5 differs from
// exp by at most 1.1e-7 of it, which is less than Taylor's of degree 6; it holds 2 * exp(r), and the power is one less, so
// that n may be 128.
OF_TILES Tile<N> exponential(Tile<N> a) {
    const Tile<N> clamped = at_most(at_least(a, -87.0f), 89.0f);
    const Tile<N> shifted = clamped * 1.44269504f + 12582912.0f;  // 1.5 * 2**23: n is in the lowest bits
    const Tile<N> r = clamped - (shifted - 12582912.0f) * 0.693147181f;
    const Tile<N> p = ((r * (2 * 0.00831244f) + 2 * 0.04189032f) * r + 2 * 0.16667116f) * r + 2 * 0.4999923f;
    return ((p * r + 2.0f) * r + 2.0f) * power(shifted);
}
OF_TILES Tile<N> sigmoid(Tile<N> z) { return 1.0f / (1.0f + exponential(-z)); }

// The sum of many logarithms as that of a product, whose exponent is kept apart.
struct Logs {
    static constexpr int SCALE = 24;  // a factor times 2**24 is a normal number
    V product = all(1.0f), poison = {};
    I powers = {};

    // Multiply by a factor from 0 to 2**100, or by `least` where that is more
    inline void add(V factor, double least) {
        const V next = at_least(factor * float(1 << SCALE), float(least * (1 << SCALE))) * product;
        poison += next * 0.0f;  // what is not finite is not lost
        powers += bits(next) >> 23;
        product = floats((bits(next) & 0x007fffff) | (127 << 23));
    }
    template <int N> inline void add(Tile<N> factors, double least) { EACH_POINT add(factors.v[k], least); }
    inline V sum(int64_t factors) const {
        const I power = powers - int32_t((127 + SCALE) * factors);
        return logarithm(product) + __builtin_convertvector(power, V) * 0.693147181f + poison;
    }
};

extern "C" int lanes() { return LANES; }
