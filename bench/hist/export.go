package hist

import (
	"fmt"
	"iter"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// FioBuckets is how many buckets a histogram of fio has: 29 groups of 64 since
// fio 3.0, which counts nanoseconds. (The 1216 of fio's manual are the 19
// groups of fio 2, which counted microseconds.)
const FioBuckets = 29 << SubBits

// FioBins ranges over the non-empty bins of fio's json+ output: the value that
// names the bin and its count. What is longer than fio can tell is in its last.
func (h *Hist) FioBins() iter.Seq2[uint64, uint64] {
	return func(yield func(uint64, uint64) bool) {
		for i, c := range h.counts[:FioBuckets-1] {
			if c != 0 && !yield(middle(uint(i)), c) {
				return
			}
		}
		if c := h.beyond(); c != 0 {
			yield(middle(FioBuckets-1), c)
		}
	}
}

// FioPlat appends the bins of a line of fio's clat_hist log to dst. Each step
// of coarseness (0 … 6) adds two neighbours up and so halves their number,
// from 1856 at 0.
func (h *Hist) FioPlat(dst []uint64, coarseness int) []uint64 {
	stride := 1 << min(max(coarseness, 0), SubBits)
	for i := 0; i < FioBuckets; i += stride {
		c := uint64(0)
		for _, v := range h.counts[i : i+stride] {
			c += v
		}
		dst = append(dst, c)
	}
	dst[len(dst)-1] += h.beyond() - h.counts[FioBuckets-1]
	return dst
}

// beyond is the count of fio's last bin: itself and all that fio clamps to it.
func (h *Hist) beyond() (c uint64) {
	for _, v := range h.counts[FioBuckets-1:] {
		c += v
	}
	return c
}

// HDR is h as an HdrHistogram V2 payload, compressed and in base64, three
// significant digits: what HdrHistogram's log analysers and plotters read.
func (h *Hist) HDR() (string, error) {
	out := hdrhistogram.New(1, int64(max(h.maximum, 2)), 3)
	for i, c := range h.counts {
		if c == 0 {
			continue
		}
		if err := out.RecordValues(int64(h.within(middle(uint(i)))), int64(c)); err != nil {
			return "", fmt.Errorf("hdr histogram: %w", err)
		}
	}
	b, err := out.Encode(hdrhistogram.V2CompressedEncodingCookieBase)
	if err != nil {
		return "", fmt.Errorf("hdr histogram: %w", err)
	}
	return string(b), nil
}
