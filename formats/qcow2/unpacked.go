package qcow2

import (
	"slices"
	"sync"
)

// unpackedBytes and unpackedMost bound what an image keeps of decompressed clusters.
const (
	unpackedBytes = 4 << 20
	unpackedMost  = 64
)

// unpacked keeps the clusters that were decompressed last for a part of them, so that small reads in order cost one decompression a
// cluster. What it knows a cluster by is its descriptor, which is the place in the file: that gets other content only by a compressed
// write there ([Image.storeCompressed], which lets forget know), and only after a grace period, when nobody who read the old content
// can still put it here.
type unpacked struct {
	mu       sync.Mutex
	clusters []unpackedCluster // the last used at the end
}

type unpackedCluster struct {
	entry L2Entry
	data  []byte
}

// read copies a part of a cluster that is here, from byte within on.
func (u *unpacked) read(e L2Entry, p []byte, within int64) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	i := u.find(e)
	if i < 0 {
		return false
	}
	c := u.clusters[i]
	copy(p, c.data[within:])
	copy(u.clusters[i:], u.clusters[i+1:])
	u.clusters[len(u.clusters)-1] = c
	return true
}

func (u *unpacked) find(e L2Entry) int {
	return slices.IndexFunc(u.clusters, func(c unpackedCluster) bool { return c.entry == e })
}

// full reports whether there is no room for a cluster of n bytes.
func (u *unpacked) full(n int64) bool {
	return len(u.clusters) >= int(min(unpackedMost, max(2, unpackedBytes/n)))
}

// buffer returns memory for a cluster of n bytes: that of the one not used for longest, when there is no room for one more.
func (u *unpacked) buffer(n int64) []byte {
	u.mu.Lock()
	defer u.mu.Unlock()
	if !u.full(n) {
		return make([]byte, n)
	}
	b := u.clusters[0].data
	u.clusters = slices.Delete(u.clusters, 0, 1)
	return b
}

// keep takes a cluster whose memory came from buffer.
func (u *unpacked) keep(e L2Entry, data []byte) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.find(e) < 0 && !u.full(int64(len(data))) { // else somebody was faster
		u.clusters = append(u.clusters, unpackedCluster{e, data})
	}
}

// forget drops a cluster whose place is written.
func (u *unpacked) forget(e L2Entry) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if i := u.find(e); i >= 0 {
		u.clusters = slices.Delete(u.clusters, i, i+1)
	}
}
