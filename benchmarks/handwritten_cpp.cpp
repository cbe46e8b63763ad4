// The notebook's training by hand, to say how fast it could be: a vector's lanes are networks, all is kept in registers
// and in the first-level cache. For ReLU, BCE and plain gradient descent alone; without the rounding and the clamps that
// BCELoss has where an output is saturated.
#include <cstdint>
#include <cstring>

#ifdef __AVX512F__
constexpr int LANES = 16;
#else
constexpr int LANES = 8;
#endif
typedef float V __attribute__((vector_size(4 * LANES)));
typedef int32_t I __attribute__((vector_size(4 * LANES)));

static inline V all(float a) { return a - V{}; }
static inline I bits(V a) { I b; std::memcpy(&b, &a, sizeof b); return b; }
static inline V floats(I a) { V b; std::memcpy(&b, &a, sizeof b); return b; }
static inline V clamp(V a, float low, float high) {
    a = a < low ? all(low) : a;
    return a > high ? all(high) : a;
}

// exp(a) for |a| <= 87: 2**n * exp(r), |r| <= log(2) / 2, a polynomial of degree 6
static inline V exponential(V a) {
    I k = __builtin_convertvector(a * 1.44269504f + 127.5f, I);  // n with the exponent's bias, rounded
    V r = a - (__builtin_convertvector(k, V) - 127.0f) * 0.693147181f;
    V p = all(1.0f / 720);
    p = p * r + 1.0f / 120;
    p = p * r + 1.0f / 24;
    p = p * r + 1.0f / 6;
    p = p * r + 0.5f;
    p = p * r + 1.0f;
    p = p * r + 1.0f;
    return p * floats(k << 23);
}

// log of a mantissa's product, once per epoch: scalar precision does not matter for speed
static inline V logarithm(V a) {
    V out;
    for (int i = 0; i < LANES; i++) out[i] = __builtin_logf(a[i]);
    return out;
}

// One epoch's sums over the points of one class: y is 0 or 1 in the whole loop
template <int H>
struct Sums {
    V across[H] = {}, up[H] = {}, bias[H] = {}, outer[H] = {}, last = {}, logits = {}, product = all(1.0f);
    I powers = {};
};

template <int H, int Y>
static inline void pass(const V *x, int points, const V *a, const V *b, const V *c, const V *v, V d, Sums<H> &s) {
    for (int i = 0; i < points; i++) {
        V x0 = x[2 * i], x1 = x[2 * i + 1], h[H], z = d;
        for (int j = 0; j < H; j++) {
            V u = a[j] * x0 + b[j] * x1 + c[j];
            h[j] = u > 0 ? u : V{};
            z += v[j] * h[j];
        }
        V e = exponential(clamp(-z, -87.0f, 87.0f)) + 1.0f;  // 1 / the sigmoid
        V g = 1.0f / e - float(Y);
        s.last += g;
        for (int j = 0; j < H; j++) {
            s.outer[j] += g * h[j];
            V back = h[j] > 0 ? g * v[j] : V{};
            s.across[j] += back * x0;
            s.up[j] += back * x1;
            s.bias[j] += back;
        }
        if (!Y) s.logits += z;  // the loss is log(e), plus z where y is 0
        s.product *= floats((bits(e) & 0x007fffff) | 0x3f800000);
        s.powers += bits(e) >> 23;
        if (i % 64 == 63) {  // mantissas are below 2: their product would leave float's range
            s.powers += (bits(s.product) >> 23) - 127;
            s.product = floats((bits(s.product) & 0x007fffff) | 0x3f800000);
        }
    }
}

template <int H>
static void group(const V *x, V *w, V *losses, int samples, int epochs, float rate) {
    V a[H], b[H], c[H], v[H], d = w[4 * H];
    for (int j = 0; j < H; j++) a[j] = w[4 * j], b[j] = w[4 * j + 1], c[j] = w[4 * j + 2], v[j] = w[4 * j + 3];
    const float step = rate / (2 * samples);
    for (int epoch = 0; epoch < epochs; epoch++) {
        Sums<H> s;
        pass<H, 0>(x, samples, a, b, c, v, d, s);
        pass<H, 1>(x + 2 * samples, samples, a, b, c, v, d, s);
        V powers = __builtin_convertvector(s.powers - 2 * samples * 127, V);
        losses[epoch] = (powers * 0.693147181f + logarithm(s.product) + s.logits) / float(2 * samples);
        d -= step * s.last;
        for (int j = 0; j < H; j++) {
            a[j] -= step * s.across[j], b[j] -= step * s.up[j], c[j] -= step * s.bias[j], v[j] -= step * s.outer[j];
        }
    }
    for (int j = 0; j < H; j++) w[4 * j] = a[j], w[4 * j + 1] = b[j], w[4 * j + 2] = c[j], w[4 * j + 3] = v[j];
    w[4 * H] = d;
}

// x (groups, 2 * samples, 2, lanes), w (groups, 4 * hidden + 1, lanes), losses (groups, epochs, lanes); 0 if done
extern "C" int train(const float *x, float *w, float *losses, int groups, int hidden, int samples, int epochs, float rate) {
    for (int g = 0; g < groups; g++) {
        const V *xs = (const V *)x + (int64_t)g * 4 * samples;
        V *ws = (V *)w + (int64_t)g * (4 * hidden + 1), *out = (V *)losses + (int64_t)g * epochs;
        if (hidden == 1) group<1>(xs, ws, out, samples, epochs, rate);
        else if (hidden == 8) group<8>(xs, ws, out, samples, epochs, rate);
        else return 1;
    }
    return 0;
}

extern "C" int lanes() { return LANES; }
