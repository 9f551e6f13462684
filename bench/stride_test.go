package bench

import "testing"

func TestBufferStride(t *testing.T) {
	for _, c := range []struct {
		block int64
		align uint32
		want  int
	}{{1, 0, 512}, {512, 512, 512}, {513, 4, 1024}, {1536, 1, 2048}, {512, 4096, 4096}, {4096, 512, 4096}, {4097, 1, 8192}, {1 << 20, 4096, 1 << 20}} {
		if got := bufferStride(c.block, c.align); got != c.want {
			t.Errorf("blocks of %d bytes at multiples of %d lie %d apart, want %d", c.block, c.align, got, c.want)
		}
	}
}
