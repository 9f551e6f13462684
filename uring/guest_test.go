package uring

import (
	"bytes"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/blkbench/blkbench/engine/enginetest/guest"
)

// Reads and writes of a device that can be polled, which is what an IOPOLL ring is for.
func TestGuestPolledDevice(t *testing.T) {
	guest.Require(t)
	_, name := guest.FindController(t, "POLLED")
	fd, err := unix.Open("/dev/"+name+"n1", unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for name, cfg := range map[string]Config{
		"polled": {IOPoll: true}, "no defer": {IOPoll: true, Without: FeatDeferTaskrun}, "thread": {IOPoll: true, SQPoll: true},
	} {
		t.Run(name, func(t *testing.T) {
			r := open(t, cfg)
			mem := memory(t, 65536)
			if err := r.RegisterBuffers([]Iovec{{addr(mem), uint64(len(mem))}}); err != nil {
				t.Fatal(err)
			}
			for i := range mem[:32768] {
				mem[i] = byte(i / 512)
			}
			const n = 8
			for i := range uint64(n) {
				s := sqe(t, r)
				s.PrepWriteFixed(int32(fd), addr(mem)+i*4096, 4096, i*4096, 0, 0)
			}
			for _, e := range reap(t, r, n) {
				want(t, "write", e.Res, 4096)
			}
			for i := range uint64(n) {
				s := sqe(t, r)
				s.PrepRead(int32(fd), addr(mem)+32768+i*4096, 4096, i*4096)
			}
			for _, e := range reap(t, r, n) {
				want(t, "read", e.Res, 4096)
			}
			if !bytes.Equal(mem[:32768], mem[32768:]) {
				t.Error("read differs from what was written")
			}
		})
	}
}

// A ring that is closed waits for what is polled for: nothing else can end it.
func TestGuestPolledRingClosesInFlight(t *testing.T) {
	guest.Require(t)
	_, name := guest.FindController(t, "POLLED")
	fd, err := unix.Open("/dev/"+name+"n1", unix.O_RDWR|unix.O_DIRECT|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	lock(t)
	r, err := New(Config{IOPoll: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Enable(); err != nil {
		t.Fatal(err)
	}
	mem := memory(t, 1<<20)
	for i := range uint64(16) {
		sqe(t, r).PrepRead(int32(fd), addr(mem)+i*65536, 65536, i*65536)
	}
	if err := r.Kick(); err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	if n := r.Inflight(); n != 0 {
		t.Errorf("%d in flight after Close", n)
	}
}
