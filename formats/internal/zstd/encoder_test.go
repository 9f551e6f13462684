package zstd

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/zstd"

	"github.com/blkbench/blkbench/engine/enginetest"
)

// samples are buffers of every kind.
func samples() map[string][]byte {
	rng := rand.New(rand.NewPCG(1, 2))
	random := make([]byte, MaxSize)
	for i := range random {
		random[i] = byte(rng.Uint32())
	}
	text := words(rng, MaxSize)
	mixed := bytes.Clone(text)
	copy(mixed[20000:], random[:10000])
	clear(mixed[40000:50000])
	skew := make([]byte, MaxSize)
	for i := range skew {
		for skew[i] < 60 && rng.IntN(3) != 0 {
			skew[i]++
		}
	}
	structured := make([]byte, MaxSize)
	for i := 0; i+16 <= len(structured); i += 16 {
		structured[i], structured[i+1], structured[i+3] = byte(i>>4), byte(i>>12), 7
		structured[i+9], structured[i+10] = byte(rng.Uint32()), byte(rng.Uint32()&3)
	}
	nibbles := bytes.Clone(random)
	for i := range nibbles {
		nibbles[i] &= 15
	}
	high := bytes.Clone(skew)
	for i := range high {
		high[i] = 255 - high[i]
	}
	// Frequencies of Fibonacci make the longest code words.
	var deep []byte
	for a, b, s := 1, 1, 0; len(deep)+a < 60000; a, b, s = b, a+b, s+1 {
		deep = append(deep, bytes.Repeat([]byte{byte(s * 9)}, a)...)
	}
	rng.Shuffle(len(deep), func(i, k int) { deep[i], deep[k] = deep[k], deep[i] })
	late := bytes.Clone(random)
	copy(late[65000:], random[:500])
	end := bytes.Clone(random[:40000])
	end = append(end, random[:25536]...)
	m := map[string][]byte{
		"empty": {}, "one": {7}, "eight": []byte("abcabcab"), "zeroes": make([]byte, MaxSize), "random": random, "text": text, "mixed": mixed,
		"skew": skew, "structured": structured, "nibbles": nibbles, "high": high, "deep": deep, "late": late, "long match": end,
		"period 3": bytes.Repeat([]byte("abc"), 9000), "period 5000": bytes.Repeat(random[:5000], 13),
		"two": bytes.Repeat([]byte{0, 0, 0, 1}, 16384), "text 512": text[:512], "text 4096": text[:4096], "odd": text[:33333],
		"zeroes but one": append(make([]byte, 65535), 1),
	}
	for _, n := range []int{2, 31, 32, 33, 44, 45, 64, 100, 255, 256, 257, 300, 511, 1023, 1024, 1025, 16383, 16385, 65535} {
		m[fmt.Sprintf("%d of text", n)] = text[:n]
		m[fmt.Sprintf("%d of skew", n)] = skew[:n]
	}
	return m
}

// words is text of a vocabulary whose first words are frequent.
func words(rng *rand.Rand, size int) []byte {
	const letters = "eeeeeeeeeeeetttttttttaaaaaaaaooooooooiiiiiiinnnnnnnsssssshhhhhhrrrrrrddddlllluuucccmmmwwffggyyppbbvk"
	list := make([][]byte, 9000)
	for i := range list {
		w := make([]byte, 2+rng.IntN(10))
		for k := range w {
			w[k] = letters[rng.IntN(len(letters))]
		}
		list[i] = append(w, ' ')
	}
	var b []byte
	for len(b) < size {
		a := rng.Float64()
		b = append(b, list[int(a*a*float64(len(list)))]...)
	}
	return b[:size]
}

func libraryDecode(t testing.TB, frame []byte) ([]byte, error) {
	t.Helper()
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	return d.DecodeAll(frame, nil)
}

// TestRoundTrip: what is compressed the library reads.
func TestRoundTrip(t *testing.T) {
	for _, level := range []Level{Default, Fast} {
		e := NewEncoder(level)
		for name, src := range samples() {
			z := e.Encode([]byte("x"), src, len(src)+20)
			if len(z) == 0 || z[0] != 'x' {
				t.Fatalf("%s, level %d: given up", name, level)
			}
			got, err := libraryDecode(t, z[1:])
			if err != nil || !bytes.Equal(got, src) {
				t.Errorf("%s, level %d: the library reads %d of %d bytes, %v", name, level, len(got), len(src), err)
			}
		}
	}
}

// TestPeer: what is compressed the reference program reads.
func TestPeer(t *testing.T) {
	enginetest.Require(t, "zstd")
	var frames, want []byte
	for _, level := range []Level{Default, Fast} {
		e := NewEncoder(level)
		for _, src := range samples() {
			frames = e.Encode(frames, src, len(src)+20)
			want = append(want, src...)
		}
	}
	name := filepath.Join(t.TempDir(), "frames")
	if err := os.WriteFile(name, frames, 0o600); err != nil {
		t.Fatal(err)
	}
	got, err := exec.Command("zstd", "-dc", name).Output()
	if err != nil || !bytes.Equal(got, want) {
		t.Fatalf("zstd reads %d of %d bytes, %v", len(got), len(want), err)
	}
}

// TestLimit: a frame is never longer than allowed.
func TestLimit(t *testing.T) {
	e := NewEncoder(Default)
	for name, src := range samples() {
		whole := len(e.Encode(nil, src, len(src)+20))
		if z := e.Encode(nil, src, whole); len(z) != whole {
			t.Errorf("%s: %d bytes with a limit of %d", name, len(z), whole)
		}
		for _, limit := range []int{0, 5, whole / 2, whole - 1} {
			if z := e.Encode(nil, src, limit); len(z) > limit {
				t.Errorf("%s: %d bytes with a limit of %d", name, len(z), limit)
			}
		}
	}
	if z := e.Encode(nil, make([]byte, MaxSize+1), 2*MaxSize); z != nil {
		t.Errorf("%d bytes of too long a buffer", len(z))
	}
}

// TestNoAllocation: nothing is allocated but what is asked for.
func TestNoAllocation(t *testing.T) {
	src := samples()["text"]
	for _, level := range []Level{Default, Fast} {
		e := NewEncoder(level)
		dst := make([]byte, 0, len(src)+20)
		if n := testing.AllocsPerRun(5, func() { dst = e.Encode(dst[:0], src, len(src)+20) }); n > 0 {
			t.Errorf("level %d: %v allocations", level, n)
		}
	}
}

// FuzzEncode: whatever is compressed, the library reads it back.
func FuzzEncode(f *testing.F) {
	for _, src := range samples() {
		f.Add(src[:min(len(src), 3000)])
	}
	encoders := []*Encoder{NewEncoder(Default), NewEncoder(Fast)}
	d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1))
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(d.Close)
	f.Fuzz(func(t *testing.T, src []byte) {
		src = src[:min(len(src), MaxSize)]
		for level, e := range encoders {
			z := e.Encode(nil, src, len(src)+20)
			got, err := d.DecodeAll(z, nil)
			if err != nil || !bytes.Equal(got, src) {
				t.Fatalf("level %d: %d of %d bytes, %v", level, len(got), len(src), err)
			}
		}
	})
}

func BenchmarkEncode(b *testing.B) {
	for _, name := range []string{"text", "structured", "mixed"} {
		src := samples()[name]
		for _, level := range []Level{Default, Fast} {
			b.Run(fmt.Sprintf("%s/%d", name, level), func(b *testing.B) {
				e := NewEncoder(level)
				dst := make([]byte, 0, len(src)+20)
				b.SetBytes(int64(len(src)))
				b.ReportAllocs()
				for b.Loop() {
					dst = e.Encode(dst[:0], src, len(src)+20)
				}
				b.ReportMetric(float64(len(dst))/float64(len(src)), "ratio")
			})
		}
	}
}
