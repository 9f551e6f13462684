package uring

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

const batch = 32

// nops sends one batch of NOPs through a bare ring.
func nops(r *Ring) error {
	for i := range uint64(batch) {
		s := r.SQE()
		s.PrepNop()
		s.UserData = i
	}
	if err := r.Kick(); err != nil {
		return err
	}
	q := r.CQ()
	for got := uint32(0); got < batch; {
		n := q.Ready()
		for i := range n {
			if q.At(i).Res != 0 {
				return unix.EIO
			}
		}
		q.Release(n)
		got += n
	}
	return nil
}

// clientNops is the same through a client of a reactor.
func clientNops(c *Client) error {
	for i := range uint64(batch) {
		s := c.SQE()
		s.PrepNop()
		s.UserData = c.Tag() | i
	}
	if err := c.Kick(); err != nil {
		return err
	}
	for got := uint32(0); got < batch; {
		q, n := c.Ready()
		for i := range n {
			if q.At(i).Res != 0 {
				return unix.EIO
			}
		}
		q.Release(n)
		got += n
	}
	return nil
}

func TestNothingIsAllocated(t *testing.T) {
	re := reactor(t, Config{})
	c, other := join(t, re, 64), join(t, re, 64)
	r := open(t, Config{})
	for name, f := range map[string]func() error{
		"ring":   func() error { return nops(r) },
		"client": func() error { return clientNops(c) },
		"two clients": func() error {
			nop(t, other, 1)
			err := clientNops(c)
			q, n := other.Ready()
			q.Release(n)
			return err
		},
		"wait":  func() error { return r.Wait(time.Microsecond) },
		"fetch": r.Fetch,
	} {
		if n := testing.AllocsPerRun(100, func() {
			if err := f(); err != nil {
				t.Fatal(err)
			}
		}); n != 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}

func perOp(b *testing.B) {
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/batch, "ns/io")
	b.ReportAllocs()
}

func BenchmarkNopRing(b *testing.B) {
	r := open(b, Config{})
	if err := r.RegisterRing(); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := nops(r); err != nil {
			b.Fatal(err)
		}
	}
	perOp(b)
}

func BenchmarkNopClient(b *testing.B) {
	c := join(b, reactor(b, Config{}), 64)
	for b.Loop() {
		if err := clientNops(c); err != nil {
			b.Fatal(err)
		}
	}
	perOp(b)
}

func BenchmarkNopClientOfTwo(b *testing.B) {
	r := reactor(b, Config{})
	c := join(b, r, 64)
	join(b, r, 64)
	for b.Loop() {
		if err := clientNops(c); err != nil {
			b.Fatal(err)
		}
	}
	perOp(b)
}

// BenchmarkPrep is the part of it that is ours: filling entries, without the kernel.
func BenchmarkPrep(b *testing.B) {
	r := open(b, Config{})
	for b.Loop() {
		tail := r.sqTail
		for i := range uint64(batch) {
			s := r.SQE()
			s.PrepReadFixed(1, 4096*i, 4096, 4096*i, 0)
			s.SetFixedFile()
			s.UserData = i
		}
		r.sqTail = tail
	}
	perOp(b)
}
