package raw_test

import (
	"bytes"
	"testing"

	"github.com/blkbench/blkbench/engine"
	"github.com/blkbench/blkbench/engine/enginetest"
	"github.com/blkbench/blkbench/formats/raw"
)

// over opens raw images over toy disks.
func over(disk enginetest.DiskConfig, c raw.Config, probed bool) func(testing.TB, int64) *engine.Ref {
	return func(t testing.TB, size int64) *engine.Ref {
		disk := disk
		disk.Size = size + c.Offset
		c := c
		if c.Size >= 0 {
			disk.Size += 9999
			c.Size = size
		}
		d, file := disk.Open(t)
		before, after := bytes.Repeat([]byte("before"), 10000)[:c.Offset], bytes.Repeat([]byte("after"), 2000)
		if d.Fill(before, 0); c.Size >= 0 {
			d.Fill(after, c.Offset+size)
		}
		t.Cleanup(func() {
			all := d.Bytes()
			if c.Size >= 0 && !bytes.Equal(all[c.Offset+size:], after[:9999]) {
				t.Error("what follows the window is changed")
			}
			if !bytes.Equal(all[:c.Offset], before) {
				t.Error("what is in front of the window is changed")
			}
		})
		m, err := raw.New(file, c)
		if err != nil {
			t.Fatal(err)
		}
		if probed {
			return engine.NewRef(raw.NewProbed(m, func([]byte) string { return "raw" }), file.Flags())
		}
		return engine.NewRef(raw.Flat{Image: m}, file.Flags())
	}
}

func TestNode(t *testing.T) {
	all := enginetest.DiskConfig{Discard: true, Zero: true, FUA: true}
	blocks, growable := all, all
	blocks.Limits = engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 64 << 10, DiscardAlign: 4096}
	growable.Growable = true
	for name, c := range map[string]enginetest.NodeConfig{
		"whole":            {Open: over(all, raw.Config{Size: -1}, false)},
		"window":           {Open: over(all, raw.Config{Offset: 12345, Size: 1}, false)},
		"window of blocks": {Open: over(blocks, raw.Config{Offset: 12345, Size: 1}, false)},
		"aligned window":   {Open: over(blocks, raw.Config{Offset: 8192, Size: 1}, false)},
		"probed":           {Open: over(all, raw.Config{Size: -1}, true)},
		"probed blocks":    {Open: over(blocks, raw.Config{Size: -1}, true)},
		"growable":         {Open: over(growable, raw.Config{Size: -1, Growable: true}, false), Growable: true, ResizeUnit: 1},
		"growable, offset": {Open: over(growable, raw.Config{Offset: 777, Size: -1, Growable: true}, false), Growable: true, ResizeUnit: 1},
		"resizable":        {Open: over(growable, raw.Config{Offset: 777, Size: -1}, false), ResizeUnit: 1},
	} {
		t.Run(name, func(t *testing.T) {
			c.Size, c.Writable = 512<<10+77, true
			enginetest.Node(t, c)
		})
	}
}

func TestQueue(t *testing.T) {
	all := enginetest.DiskConfig{Discard: true, Zero: true, FUA: true, Queue: enginetest.QueueBehaviour{Shuffle: true, Short: 0.1}}
	blocks := all
	blocks.Limits = engine.Limits{RequestAlign: 512, MemAlign: 64, MaxTransfer: 64 << 10, DiscardAlign: 4096}
	for name, c := range map[string]enginetest.QueueConfig{
		"whole":            {Open: over(all, raw.Config{Size: -1}, false)},
		"window":           {Open: over(all, raw.Config{Offset: 12345, Size: 1}, false)},
		"window of blocks": {Open: over(blocks, raw.Config{Offset: 12345, Size: 1}, false), Allocates: true},
		"aligned window":   {Open: over(blocks, raw.Config{Offset: 8192, Size: 1}, false)},
		"probed":           {Open: over(all, raw.Config{Size: -1}, true)},
		"probed blocks":    {Open: over(blocks, raw.Config{Size: -1}, true)},
	} {
		t.Run(name, func(t *testing.T) {
			c.Size = 512<<10 + 77
			enginetest.Queue(t, c)
		})
	}
}
