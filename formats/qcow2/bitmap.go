package qcow2

import (
	"context"
	"sync/atomic"
)

// bitmapState is what is known of persistent bitmaps.
type bitmapState struct {
	list     []*Bitmap
	tracking atomic.Bool
	inUse    atomic.Bool
	ext      BitmapExtension
	onDisk   []BitmapRecord
}

// Bitmap is a persistent dirty bitmap.
type Bitmap struct {
	BitmapRecord
}

func (b *Bitmap) detail() BitmapDetail    { return BitmapDetail{} }
func (b *bitmapState) track(off, n int64) {}

func (m *Image) loadBitmaps(ctx context.Context, tolerant bool) error { return nil }
func (m *Image) storeBitmaps(ctx context.Context) error               { return nil }
func (m *Image) markBitmaps(ctx context.Context) error                { return nil }
func (m *Image) bitmapsMayResize() error                              { return nil }
func (m *Image) resizeBitmaps(size int64)                             {}
