// What every instruction set shares: the tasks, the table of functions, the way work is split.
#pragma once

#include <cstddef>
#include <cstdint>

// B batch, C channels, H height, W width, K kernel size

namespace nastk {

enum Activation { kIdentity = 0, kRelu = 1, kRelu6 = 2, kSilu = 3 };
enum Status { kDone = 0, kUnsupported = 1, kNoMemory = 2 };

// Channels that one work item takes: whole cache lines of each pixel, whatever the vectors.
constexpr long kBlock = 32;
constexpr long kLargestKernel = 11;

// A feature [B, C, H, W] in either layout, activated while it is read if `scale` is given.
struct Feature {
    const float *data;
    long B, C, H, W;
    bool channels_last;
    const float *scale, *shift;
    int activation;

    long pixel_step() const { return channels_last ? C : 1; }
    long channel_step() const { return channels_last ? 1 : H * W; }
    long offset(long b, long c, long y) const {
        return channels_last ? ((b * H + y) * W) * C + c : ((b * C + c) * H + y) * W;
    }
};

struct WeightTask {
    Feature x, g;
    long K, stride;
};

// y = correlation of x with w; `transposed` stands for the gradient of x, from g as `x`.
struct ConvTask {
    Feature x;
    float *y;
    long out_H, out_W;
    bool y_channels_last;
    const float *w;  // [C, K, K]
    long K, stride;
    bool transposed;
};

// A run of `n` values per row with one parameter a value, or (`splat`) one for the whole row.
struct NormTask {
    const float *da, *z, *x;
    const float *a, *b, *mean, *invstd, *p, *q, *r;
    float *out, *dx;
    int activation;
    bool splat;
};

// Candidates [channels][size][size] whose factors lie `p_step` apart, in squares of K rows.
struct CropTask {
    const float *w, *p;
    long size, K, channels, p_step;
    bool is_whole() const { return size == K; }
    long rows() const { return is_whole() ? 1 : size; }
    long length() const { return is_whole() ? K * K : size; }
    long margin() const { return (K - size) / 2 * (K + 1); }
};

struct Table {
    void (*weight)(const WeightTask &, long c0, long b0, long b1, float *dw, float *scratch);
    size_t (*weight_scratch)(const WeightTask &);
    void (*conv)(const ConvTask &, long c0, long b0, long b1, float *scratch);
    size_t (*conv_scratch)(const ConvTask &);
    void (*norm_act)(const NormTask &, long rows, long n);
    void (*apply)(const NormTask &, long rows, long n);
    void (*reduce)(const NormTask &, long rows, long n, double *sums);
    void (*join)(const NormTask &, long rows, long n);
    void (*join_backward)(const NormTask &, long rows, long n);
    void (*join_reduce)(const NormTask &, long rows, long n, double *sums);
    void (*add_crops)(const CropTask &, float *to);
    double (*split_crops)(const CropTask &, const float *grad, float *out, float *dots);
    void (*moments_columns)(const float *z, long rows, long n, double *mean, double *m2);
    void (*moments_plane)(const float *z, long n, double seen, double *mean, double *m2);
};

inline long clamp(long value, long low, long high) {
    value = value > high ? high : value;
    return value < low ? low : value;
}

// Bytes that a band of scratch may take in the second-level cache, and a strip in the first.
constexpr long kBandBytes = 160 * 1024, kStripBytes = 28 * 1024;

}  // namespace nastk
