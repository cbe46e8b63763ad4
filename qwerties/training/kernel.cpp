// Train and score networks, one in each vector lane, so that no network depends on its neighbours. Compiled for one batch:
//   -DWIDTHS=2,8,1 -DACTIVATION=relu_activation -DLOSS=bce_loss -DOPTIMIZER=sgd_optimizer
// `compiler.py` compiles this file and `native.py` calls it. An entry NAME of networks.ACTIVATIONS, networks.LOSSES or
// optimizers.OPTIMIZERS is fast if a struct NAME_activation, NAME_loss or NAME_optimizer stands here.
#include "vector_math.h"

constexpr int WIDTH[] = {WIDTHS};
constexpr int LAYERS = sizeof WIDTH / sizeof *WIDTH - 1;
constexpr int weights_before(int layer) {
    int n = 0;
    for (int l = 0; l < layer; l++) n += (WIDTH[l] + 1) * WIDTH[l + 1];
    return n;
}
constexpr int units_before(int layer) {
    int n = 0;
    for (int l = 0; l < layer; l++) n += WIDTH[l];
    return n;
}
constexpr int WEIGHTS = weights_before(LAYERS), UNITS = units_before(LAYERS + 1);
constexpr bool SMALL = WEIGHTS <= 40;  // then all is unrolled; beyond, compilation takes longer and training is slower
constexpr int UNROLL = SMALL ? 64 : 4;
constexpr int TOGETHER = SMALL ? 2 : 4;  // points: two fill the registers, four save reading weights from the cache
constexpr int STRETCH = 256;        // points summed before the sum is added to the total, so that rounding stays small
constexpr int HYPERPARAMETERS = 2;  // learning rate, momentum

#define PER_VALUE template <class T> INLINE  // T: a Tile

// Activations: f(u), and the gradient by u from g, the gradient by a = f(u)
struct relu_activation {
    PER_VALUE T f(T u) { return at_least(u, 0.0f); }
    PER_VALUE T back(T g, T a) { return choose(a <= 0.0f, T(V{}), g); }
};
struct linear_activation {
    PER_VALUE T f(T u) { return u; }
    PER_VALUE T back(T g, T) { return g; }
};
struct sigmoid_activation {
    PER_VALUE T f(T u) { return sigmoid(u); }
    PER_VALUE T back(T g, T a) { return g * (a * (1.0f - a)); }
};
struct tanh_activation {
    PER_VALUE T f(T u) { return 2.0f * sigmoid(2.0f * u) - 1.0f; }
    PER_VALUE T back(T g, T a) { return g * (1.0f - a * a); }
};

// Losses: add a point's loss and return its gradient by the logit, from the probability p and the label y
struct bce_loss {  // torch's BCELoss clamps the logarithm at -100, and p * (1 - p) at 1e-12 where it divides by that
    static constexpr double LEAST = 3.720075976020836e-44;  // exp(-100)
    Logs logs;
    template <class T> inline T add(T p, int y) {
        logs.add(y ? p : 1.0f - p, LEAST);
        return (p - float(y)) * at_most(p * (1.0f - p) * 1e12f, 1.0f);
    }
    V sum(int64_t points) const { return -logs.sum(points); }
};
struct mse_loss {
    V total = {};
    template <class T> inline T add(T p, int y) {
        const T error = p - float(y);
        total += error * error;
        return error * (2.0f * p * (1.0f - p));
    }
    V sum(int64_t) const { return total; }
};

// Optimizers: move a weight w and its two moments by its gradient g; c0 and c1 are Adam's bias corrections
struct sgd_optimizer {
    INLINE void step(V &w, V &first, V &, V g, V rate, V momentum, float, float) {
        first = momentum * first + g;
        w -= rate * first;
    }
};
struct adam_optimizer {
    INLINE void step(V &w, V &first, V &second, V g, V rate, V, float c0, float c1) {
        first = 0.9f * first + 0.1f * g;
        second = 0.999f * second + 0.001f * g * g;
        w -= rate / c0 * first / (root(second) / c1 + 1e-8f);
    }
};

// Activity of every layer, a (units,), of which the input is given
template <int L, class T> INLINE void forward(const V *w, T *a) {
    if constexpr (L < LAYERS) {
        constexpr int in = WIDTH[L], out = WIDTH[L + 1];
        const V *weight = w + weights_before(L), *bias = weight + in * out;
        const T *x = a + units_before(L);
        T *y = a + units_before(L + 1);
#pragma GCC unroll UNROLL
        for (int i = 0; i < out; i++) {
            T u = bias[i];
#pragma GCC unroll UNROLL
            for (int j = 0; j < in; j++) u = u + weight[i * in + j] * x[j];
            y[i] = L + 1 < LAYERS ? ACTIVATION::f(u) : u;
        }
        forward<L + 1>(w, a);
    }
}

// Add a point's gradients to g (weights,), from delta, the gradient by what layer L's units add up
template <int L, class T> INLINE void backward(const V *w, const T *a, const T *delta, V *g) {
    constexpr int in = WIDTH[L], out = WIDTH[L + 1];
    const V *weight = w + weights_before(L);
    const T *x = a + units_before(L);
    V *by_weight = g + weights_before(L), *by_bias = by_weight + in * out;
#pragma GCC unroll UNROLL
    for (int i = 0; i < out; i++) {
        by_bias[i] += delta[i];
#pragma GCC unroll UNROLL
        for (int j = 0; j < in; j++) by_weight[i * in + j] += delta[i] * x[j];
    }
    if constexpr (L > 0) {
        T below[in];
#pragma GCC unroll UNROLL
        for (int j = 0; j < in; j++) {
            T sum = delta[0] * weight[j];
#pragma GCC unroll UNROLL
            for (int i = 1; i < out; i++) sum = sum + delta[i] * weight[i * in + j];
            below[j] = ACTIVATION::back(sum, x[j]);
        }
        backward<L - 1>(w, a, below, g);
    }
}

// N points of class y, x (N, 2)
template <int N> INLINE void learn(const V *x, int y, const V *w, V *g, LOSS &loss) {
    Tile<N> a[UNITS];
    EACH_POINT a[0].v[k] = x[2 * k], a[1].v[k] = x[2 * k + 1];
    forward<0>(w, a);
    const Tile<N> delta[1] = {loss.add(sigmoid(a[UNITS - 1]), y)};
    backward<LAYERS - 1>(w, a, delta, g);
}

// Points `begin` to `end` of class y, x (points, 2); one copy for both classes halves compilation
static __attribute__((noinline)) void learn_class(const V *x, int64_t begin, int64_t end, int y, const V *w, V *g,
                                                  LOSS &loss) {
    int64_t i = begin;
    for (; i + TOGETHER <= end; i += TOGETHER) learn<TOGETHER>(x + 2 * i, y, w, g, loss);
    for (; i < end; i++) learn<1>(x + 2 * i, y, w, g, loss);
}

// Mean gradient by every weight, and the mean loss; the first half of the points is of class 0
static __attribute__((noinline)) V means_of(const V *x, const V *w, V *mean, int64_t points) {
    V total[WEIGHTS] = {}, losses = {};
    for (int64_t begin = 0; begin < points; begin += STRETCH) {
        const int64_t end = least(begin + STRETCH, points);
        V g[WEIGHTS] = {};
        LOSS loss;
        learn_class(x, begin, least(end, points / 2), 0, w, g, loss);
        learn_class(x, most(begin, points / 2), end, 1, w, g, loss);
        for (int i = 0; i < WEIGHTS; i++) total[i] += g[i];
        losses += loss.sum(end - begin);
    }
    for (int i = 0; i < WEIGHTS; i++) mean[i] = total[i] / float(points);
    return losses / float(points);
}

// Train groups of LANES networks for epochs `begin` to `end`. Arrays are (groups, ..., LANES): x (points, 2),
// hyper (HYPERPARAMETERS,), state (3, weights): weights and moments, losses (epochs,), kept (stops, weights), and
// gradients (weights,) before the first update; corrections (epochs, 2), and stops: updates after which to keep weights.
extern "C" void train(const float *x_, const float *hyper_, const float *corrections, const int64_t *stops, float *state_,
                      float *losses_, float *kept_, float *gradients_, int64_t groups, int64_t points, int64_t epochs,
                      int64_t n_stops, int64_t begin, int64_t end) {
    for (int64_t n = 0; n < groups; n++) {
        const V *x = (const V *)x_ + n * 2 * points, *hyper = (const V *)hyper_ + n * HYPERPARAMETERS;
        V *w = (V *)state_ + n * 3 * WEIGHTS, *losses = (V *)losses_ + n * epochs, mean[WEIGHTS];
        V *kept = (V *)kept_ + n * n_stops * WEIGHTS;
        const int64_t *stop = stops;
        while (*stop < begin) stop++;  // the last stop is the last epoch
        for (int64_t e = begin; e < end; e++) {
            if (e == *stop) memcpy(kept + (stop++ - stops) * WEIGHTS, w, WEIGHTS * sizeof(V));
            losses[e] = means_of(x, w, mean, points);
            if (e == 0) memcpy((V *)gradients_ + n * WEIGHTS, mean, sizeof mean);
            for (int i = 0; i < WEIGHTS; i++)
                OPTIMIZER::step(w[i], w[WEIGHTS + i], w[2 * WEIGHTS + i], mean[i], hyper[0], hyper[1],
                                corrections[2 * e], corrections[2 * e + 1]);
        }
        if (end == epochs) memcpy(kept + (n_stops - 1) * WEIGHTS, w, WEIGHTS * sizeof(V));
    }
}

// The logit of one point x (2,), with every unit's activity in a (UNITS,); one copy in the library spares compilation
static __attribute__((noinline)) V answer(const V *x, const V *w, Tile<1> *a) {
    a[0] = x[0], a[1] = x[1];
    forward<0>(w, a);
    return a[UNITS - 1].v[0];
}

// Add up a point's scores: right or not, BCE in nats, Brier score
struct Scores {
    V right = {}, beyond = {}, brier = {};
    Logs logs;
    template <class T> inline void add(T z, int y) {
        const T e = exponential(-magnitude(z)), surer = 1.0f / (1.0f + e);  // the probability of the predicted class
        const T is_right = y ? choose(z > 0.0f, T(all(1.0f)), T(V{})) : choose(z <= 0.0f, T(all(1.0f)), T(V{}));
        const T wrong = choose(is_right > 0.5f, e * surer, surer);
        right += is_right;
        beyond += choose(is_right > 0.5f, T(V{}), magnitude(z));  // log(1 + exp(|z|)) = |z| + log(1 + exp(-|z|))
        brier += wrong * wrong;
        logs.add(surer, 0.0);
    }
};

// Mean scores, (groups, 3, LANES), of weights (groups, weights, LANES) on points that all networks share, (points, 2)
extern "C" void score(const float *x, const float *w_, float *out_, int64_t groups, int64_t points) {
    for (int64_t n = 0; n < groups; n++) {
        const V *w = (const V *)w_ + n * WEIGHTS;
        V *out = (V *)out_ + n * 3;
        Scores total;
        V bce = {};
        for (int64_t begin = 0; begin < points; begin += STRETCH) {
            const int64_t end = least(begin + STRETCH, points);
            Scores sums;
            for (int64_t i = begin; i < end; i++) {
                Tile<1> a[UNITS];
                const V point[2] = {all(x[2 * i]), all(x[2 * i + 1])};
                sums.add(Tile<1>(answer(point, w, a)), i >= points / 2);
            }
            total.right += sums.right;
            total.brier += sums.brier;
            bce += sums.beyond - sums.logs.sum(end - begin);
        }
        out[0] = total.right / float(points), out[1] = bce / float(points), out[2] = total.brier / float(points);
    }
}

// Count each network's training points, (groups, points, 2, LANES), that are put into class 1 with each of its weights,
// (groups, stops, weights, LANES): positives (groups, stops, 2, LANES) by true class. In active, (groups, stops, LANES), 1
// says that every hidden layer has a positive activity on some point.
extern "C" void classify(const float *x_, const float *w_, float *positives_, float *active_, int64_t groups,
                         int64_t points, int64_t stops) {
    for (int64_t n = 0; n < groups * stops; n++) {
        const V *x = (const V *)x_ + n / stops * 2 * points, *w = (const V *)w_ + n * WEIGHTS;
        V positives[2] = {};
        I active[LAYERS] = {};
        for (int64_t i = 0; i < points; i++) {
            Tile<1> a[UNITS];
            const V logit = answer(x + 2 * i, w, a);
            positives[i >= points / 2] += choose(logit > 0.0f, all(1.0f), V{});
            for (int l = 1; l < LAYERS; l++)
                for (int j = 0; j < WIDTH[l]; j++) active[l] |= a[units_before(l) + j].v[0] > 0.0f;
        }
        for (int l = 2; l < LAYERS; l++) active[1] &= active[l];
        memcpy((V *)positives_ + n * 2, positives, sizeof positives);
        ((V *)active_)[n] = choose(active[1], all(1.0f), V{});
    }
}
