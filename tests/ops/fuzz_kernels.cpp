// Random shapes through every kernel, under an address sanitizer, against naive loops in double.
// Half of the buffers end at a page that may not be touched, which catches even masked accesses.
//
// Usage: fuzz_kernels SHAPES [SEED]

#include <sys/mman.h>
#include <unistd.h>

#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "../../ops/kernels/cpu/src/native.cpp"

static std::mt19937 generator;

static long draw(long low, long high) {
    return std::uniform_int_distribution<long>(low, high)(generator);
}

// Exactly n floats: on the heap, or directly in front of a page without permissions.
class Buffer {
  public:
    explicit Buffer(long n) : size(n), guarded_(draw(0, 1)) {
        if (guarded_) {
            const long page = sysconf(_SC_PAGESIZE);
            mapped_ = (n * 4 + page - 1) / page * page + page;
            base_ = static_cast<char *>(
                mmap(nullptr, mapped_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
            mprotect(base_ + mapped_ - page, page, PROT_NONE);
            data = reinterpret_cast<float *>(base_ + mapped_ - page - n * 4);
        } else {
            data = new float[n];
        }
        std::normal_distribution<float> normal;
        for (long i = 0; i < n; ++i) data[i] = normal(generator);
    }
    ~Buffer() {
        if (guarded_) munmap(base_, mapped_);
        else delete[] data;
    }
    Buffer(const Buffer &) = delete;
    float &operator[](long i) const { return data[i]; }
    float *data;
    const long size;

  private:
    const bool guarded_;
    char *base_ = nullptr;
    long mapped_ = 0;
};

static const char *what = "";
static char shape[200];

static void check(double found, double wanted, double magnitude) {
    if (std::fabs(found - wanted) <= 4e-6 * magnitude + 1e-6) return;
    std::printf("%s of %s: found %.9g, wanted %.9g, magnitude %.3g\n", what, shape, found, wanted,
                magnitude);
    std::exit(1);
}

static void finished(int status) {
    if (status == 0) return;
    std::printf("%s of %s: status %d\n", what, shape, status);
    std::exit(1);
}

static long place(bool last, long b, long c, long p, long C, long positions) {
    return last ? (b * positions + p) * C + c : (b * C + c) * positions + p;
}

static double activated(double x, int act) {
    if (act == kSilu) return x / (1 + std::exp(-x));
    if (act != kIdentity && x < 0) x = 0;
    return act == kRelu6 && x > 6 ? 6 : x;
}

static double slope(double x, int act) {
    const double s = 1 / (1 + std::exp(-x));
    if (act == kSilu) return s * (1 + x * (1 - s));
    if (act == kRelu) return x > 0;
    return act == kRelu6 ? x > 0 && x < 6 : 1;
}

static void fuzz_depthwise(int isa) {
    const long B = draw(1, 4), C = draw(1, 70), K = 2 * draw(0, 5) + 1, S = draw(1, 2);
    const long H = draw(1, draw(1, 4) == 1 ? 30 : 10), W = draw(1, draw(1, 4) == 1 ? 70 : 12);
    const long h = (H - 1) / S + 1, w = (W - 1) / S + 1;
    const bool x_last = draw(0, 1), g_last = draw(0, 1), fused = draw(0, 1);
    const int act = draw(0, 3), threads = draw(1, 3);
    std::snprintf(shape, sizeof shape, "isa %d B %ld C %ld H %ld W %ld K %ld S %ld last %d %d act %d",
                  isa, B, C, H, W, K, S, x_last, g_last, fused ? act : -1);
    Buffer x(B * C * H * W), g(B * C * h * w), weight(C * K * K), scale(C), shift(C);
    Buffer dw(C * K * K), y(B * C * h * w), dx(B * C * H * W);
    const float *a = fused ? scale.data : nullptr, *b = fused ? shift.data : nullptr;
    what = "weight";
    finished(nastk_depthwise_weight(isa, threads, x.data, x_last, g.data, g_last, dw.data, a, b, act,
                                    B, C, H, W, K, S));
    what = "forward";
    finished(nastk_depthwise_forward(isa, threads, x.data, x_last, weight.data, y.data, g_last, a, b,
                                     act, B, C, H, W, K, S));
    what = "data";
    finished(nastk_depthwise_data(isa, threads, g.data, g_last, weight.data, dx.data, x_last, B, C,
                                  H, W, K, S));
    for (long c = 0; c < C; ++c) {
        std::vector<double> sums(K * K), sizes(K * K), out(B * h * w), out_size(B * h * w);
        std::vector<double> back(B * H * W), back_size(B * H * W);
        for (long n = 0; n < B; ++n)
            for (long oy = 0; oy < h; ++oy)
                for (long ox = 0; ox < w; ++ox)
                    for (long k = 0; k < K * K; ++k) {
                        const long iy = oy * S + k / K - K / 2, ix = ox * S + k % K - K / 2;
                        if (iy < 0 || iy >= H || ix < 0 || ix >= W) continue;
                        double in = x[place(x_last, n, c, iy * W + ix, C, H * W)];
                        if (fused) in = activated(in * scale[c] + shift[c], act);
                        const double up = g[place(g_last, n, c, oy * w + ox, C, h * w)];
                        const double tap = weight[c * K * K + k];
                        const long o = (n * h + oy) * w + ox, i = (n * H + iy) * W + ix;
                        sums[k] += in * up, sizes[k] += std::fabs(in * up);
                        out[o] += in * tap, out_size[o] += std::fabs(in * tap);
                        back[i] += up * tap, back_size[i] += std::fabs(up * tap);
                    }
        what = "weight";
        for (long k = 0; k < K * K; ++k) check(dw[c * K * K + k], sums[k], sizes[k]);
        for (long n = 0; n < B; ++n) {
            what = "forward";
            for (long p = 0; p < h * w; ++p)
                check(y[place(g_last, n, c, p, C, h * w)], out[n * h * w + p], out_size[n * h * w + p]);
            what = "data";
            for (long p = 0; p < H * W; ++p)
                check(dx[place(x_last, n, c, p, C, H * W)], back[n * H * W + p],
                      back_size[n * H * W + p]);
        }
    }
}

static void fuzz_norm(int isa) {
    const long B = draw(1, 4), C = draw(1, 150), P = draw(1, draw(1, 4) == 1 ? 900 : 60);
    const bool last = draw(0, 1), in_place = draw(0, 1);
    const int act = draw(0, 3), threads = draw(1, 3);
    std::snprintf(shape, sizeof shape, "isa %d B %ld C %ld P %ld last %d act %d", isa, B, C, P, last,
                  act);
    Buffer z(B * C * P), da(B * C * P), out(B * C * P), dz(B * C * P), a(C), b(C), m(C), s(C), p(C);
    Buffer q(C), r(C), sum(C), product(C), mean(C), var(C);
    std::vector<double> before(da.data, da.data + da.size);
    what = "norm_act";
    finished(nastk_norm_act(isa, threads, z.data, a.data, b.data, act, out.data, last, B, C, P));
    what = "moments";
    finished(nastk_channel_moments(isa, threads, z.data, mean.data, var.data, last, B, C, P));
    what = "reduce";
    finished(nastk_norm_act_backward_reduce(isa, threads, da.data, z.data, a.data, b.data, m.data,
                                            s.data, act, sum.data, product.data, last, B, C, P));
    what = "apply";
    float *to = in_place ? da.data : dz.data;
    finished(nastk_norm_act_backward_apply(isa, threads, da.data, z.data, a.data, b.data, p.data,
                                           q.data, r.data, act, to, last, B, C, P));
    for (long c = 0; c < C; ++c) {
        double total = 0, square = 0, sums[2] = {}, sizes[2] = {};
        for (long i = 0; i < B * P; ++i) {
            const long at = place(last, i / P, c, i % P, C, P);
            const double value = z[at], pre = std::fma(a[c], z[at], b[c]);
            // A kink is decided by the rounding of `pre`: leave out what lies on it.
            const double kink = std::fmin(std::fabs(pre), std::fabs(pre - 6));
            const double dpre = before[at] * slope(pre, act), zhat = (value - m[c]) * s[c];
            total += value;
            what = "norm_act";
            check(out[at], activated(pre, act), std::fabs(a[c] * value) + std::fabs(b[c]) + 1);
            what = "apply";
            if (kink > 1e-5 || act == kSilu)
                check(to[at], dpre * p[c] + value * q[c] + r[c],
                      std::fabs(before[at] * p[c]) * 2 + std::fabs(value * q[c]) + std::fabs(r[c]));
            const double doubt = kink > 1e-5 || act == kSilu ? 0 : 1e6 * std::fabs(before[at]);
            sums[0] += dpre, sizes[0] += 2 * std::fabs(before[at]) + doubt;
            sums[1] += dpre * zhat, sizes[1] += (2 * std::fabs(before[at]) + doubt) * std::fabs(zhat);
        }
        what = "reduce";
        check(sum[c], sums[0], sizes[0]);
        check(product[c], sums[1], sizes[1]);
        for (long i = 0; i < B * P; ++i)
            square += std::pow(z[place(last, i / P, c, i % P, C, P)] - total / (B * P), 2);
        what = "moments";
        check(mean[c], total / (B * P), 0.1);
        check(var[c], square / (B * P), 0.1);
    }
}

static void fuzz_join(int isa) {
    const long B = draw(1, 4), C = draw(1, 150), P = draw(1, draw(1, 4) == 1 ? 900 : 60);
    const bool last = draw(0, 1), has_share = draw(0, 1);
    const int threads = draw(1, 3);
    std::snprintf(shape, sizeof shape, "isa %d B %ld C %ld P %ld last %d share %d", isa, B, C, P,
                  last, has_share);
    Buffer z(B * C * P), x(B * C * P), g(B * C * P), out(B * C * P), dz(B * C * P), dx(B * C * P);
    Buffer a(C), b(C), m(C), s(C), q(C), r(C), share(C), sum(C), product(C), d_share(C);
    what = "join";
    finished(nastk_join(isa, threads, z.data, a.data, b.data, x.data,
                        has_share ? share.data : nullptr, out.data, last, B, C, P));
    what = "join reduce";
    finished(nastk_join_backward_reduce(isa, threads, g.data, z.data, m.data, s.data, x.data,
                                        sum.data, product.data, d_share.data, last, B, C, P));
    what = "join apply";
    finished(nastk_join_backward_apply(isa, threads, g.data, z.data, a.data, q.data, r.data,
                                       share.data, dz.data, dx.data, last, B, C, P));
    for (long c = 0; c < C; ++c) {
        double sums[3] = {}, sizes[3] = {};
        for (long i = 0; i < B * P; ++i) {
            const long at = place(last, i / P, c, i % P, C, P);
            const double factor = has_share ? share[c] : 1;
            const double terms[3] = {g[at], g[at] * ((double)z[at] - m[c]) * s[c], (double)g[at] * x[at]};
            for (int k = 0; k < 3; ++k) sums[k] += terms[k], sizes[k] += std::fabs(terms[k]);
            // A difference of like numbers is as exact as they are, not as their difference.
            sizes[1] += std::fabs((double)g[at] * s[c]) * (std::fabs(z[at]) + std::fabs(m[c]));
            what = "join";
            check(out[at], a[c] * (double)z[at] + b[c] + factor * x[at],
                  std::fabs(a[c] * z[at]) + std::fabs(b[c]) + std::fabs(factor * x[at]));
            what = "join apply";
            check(dz[at], (double)g[at] * a[c] + (double)z[at] * q[c] + r[c],
                  std::fabs(g[at] * a[c]) + std::fabs(z[at] * q[c]) + std::fabs(r[c]));
            check(dx[at], (double)g[at] * share[c], std::fabs(g[at] * share[c]));
        }
        what = "join reduce";
        check(sum[c], sums[0], sizes[0]);
        check(product[c], sums[1], sizes[1]);
        check(d_share[c], sums[2], sizes[2]);
    }
}

static void fuzz_fold(int isa) {
    // Pointwise kernels go by chunks of 64 inputs: up to three of them, tails included.
    const bool per_row = draw(0, 1), has_columns = draw(0, 1), points = draw(0, 2) == 0;
    const long N = draw(1, 5), O = draw(1, 40), I = points && draw(0, 1) ? draw(60, 200) : draw(1, 9);
    const bool wants_probs = draw(0, 3), wants_columns = draw(0, 3);
    std::vector<Buffer *> w, dw;
    std::vector<float *> w_at, dw_at;
    std::vector<long> sizes;
    long K = 1;
    for (long n = 0; n < N; ++n) {
        sizes.push_back(points ? 1 : 2 * draw(0, 5) + 1);
        K = sizes[n] > K ? sizes[n] : K;
        w.push_back(new Buffer(O * I * sizes[n] * sizes[n]));
        dw.push_back(new Buffer(O * I * sizes[n] * sizes[n]));
        w_at.push_back(w[n]->data);
        dw_at.push_back(draw(0, 3) ? dw[n]->data : nullptr);  // null: nobody wants this gradient
    }
    std::snprintf(shape, sizeof shape, "N %ld O %ld I %ld K %ld row %d columns %d", N, O, I, K,
                  per_row, has_columns);
    Buffer probs(per_row ? O * N : N), columns(I), folded(O * I * K * K), grad(O * I * K * K);
    Buffer dprobs(probs.size), dcolumns(I);
    const float *factors = has_columns ? columns.data : nullptr;
    what = "fold";
    finished(nastk_fold(isa, 2, w_at.data(), sizes.data(), N, O, I, K, probs.data, per_row, factors,
                        folded.data));
    what = "fold backward";
    finished(nastk_fold_backward(isa, 2, w_at.data(), sizes.data(), N, O, I, K, probs.data, per_row,
                                 factors, grad.data, dw_at.data(),
                                 wants_probs ? dprobs.data : nullptr,
                                 wants_columns ? dcolumns.data : nullptr));
    std::vector<double> sum(folded.size), size(folded.size), dp(probs.size), dp_size(probs.size);
    std::vector<double> dc(I), dc_size(I);
    for (long n = 0; n < N; ++n)
        for (long i = 0; i < w[n]->size; ++i) {
            const long taps = sizes[n] * sizes[n], oi = i / taps, margin = (K - sizes[n]) / 2;
            const long y = i % taps / sizes[n] + margin, x = i % sizes[n] + margin;
            const long at = (oi * K + y) * K + x, prob = per_row ? oi / I * N + n : n;
            const double p = probs[prob], c = has_columns ? columns[oi % I] : 1, v = (*w[n])[i];
            sum[at] += p * c * v, size[at] += std::fabs(p * c * v);
            dp[prob] += c * v * grad[at], dp_size[prob] += std::fabs(c * v * grad[at]);
            dc[oi % I] += p * v * grad[at], dc_size[oi % I] += std::fabs(p * v * grad[at]);
            if (dw_at[n]) check((*dw[n])[i], p * c * grad[at], std::fabs(p * c * grad[at]));
        }
    for (long i = 0; i < folded.size; ++i) check(folded[i], sum[i], size[i]);
    for (long i = 0; wants_probs && i < probs.size; ++i) check(dprobs[i], dp[i], dp_size[i]);
    for (long i = 0; wants_columns && i < I; ++i) check(dcolumns[i], dc[i], dc_size[i]);
    for (long n = 0; n < N; ++n) delete w[n], delete dw[n];
}

int main(int count, char **arguments) {
    const long shapes = count > 1 ? std::atol(arguments[1]) : 2000;
    generator.seed(count > 2 ? std::atol(arguments[2]) : 0);
    std::vector<int> isas;
    for (int isa = 0; isa < 3; ++isa)
        if (nastk_isas() >> isa & 1) isas.push_back(isa);
    for (long i = 0; i < shapes; ++i) {
        const int isa = isas[(i / 8) % isas.size()];
        if (i % 2) fuzz_depthwise(isa);
        else if (i % 8 == 4) fuzz_join(isa);
        else if (i % 8) fuzz_norm(isa);
        else fuzz_fold(isa);
    }
    std::printf("%ld shapes agree on %zu instruction sets\n", shapes, isas.size());
}
