package inspectcmd

import "github.com/blkbench/blkbench/formats/qcow2"

// qcow2 looks at the header and everything that it leads to. qcow2.txt is the source of all of it.
func (im *image) qcow2() (bool, error) {
	r := &im.report
	h, err := qcow2.ParseHeader(im.head, true)
	if err != nil {
		r.grave("header", "%v", err)
		return false, nil
	}
	r.ClusterSize = 1 << h.ClusterBits
	r.Version = map[uint32]string{2: "0.10", 3: "1.1"}[h.Version]
	im.qcow2Claims(h)
	if err := h.Validate(false); err != nil {
		r.grave("header", "%v", err)
		return true, nil
	}
	q := &qcow2Image{image: im, h: h, layout: h.Layout(), cluster: h.Layout().ClusterSize()}
	return true, q.walk()
}

// qcow2Claims notes what the header alone says.
func (im *image) qcow2Claims(h *qcow2.Header) {
	r := &im.report
	im.claimsUnsigned(h.Size)
	r.Dirty = h.Incompatible&qcow2.IncompatDirty != 0
	r.Corrupt = h.Incompatible&qcow2.IncompatCorrupt != 0
	r.Encryption = map[uint32]string{qcow2.CryptNone: "", qcow2.CryptAES: "aes", qcow2.CryptLUKS: "luks"}[h.CryptMethod]
	if h.BackingFile != "" {
		r.refer("backing", h.BackingFile, h.Text(qcow2.ExtBackingFormat))
	}
	if h.Incompatible&qcow2.IncompatDataFile != 0 {
		r.refer("data-file", h.Text(qcow2.ExtDataFile), "raw")
	}
	if r.Corrupt {
		r.grave("corrupt", "the image is marked corrupt")
	}
	if r.Dirty {
		r.note("dirty", "the image was not closed: whoever writes to it repairs its refcounts first")
	}
	if words := h.UnknownIncompatible(); words != "" {
		r.grave("feature", "features that no reader may ignore are unknown: %q", words)
	}
	known := map[uint32]bool{
		qcow2.ExtBackingFormat: true, qcow2.ExtFeatureNames: true, qcow2.ExtBitmaps: true, qcow2.ExtCrypto: true, qcow2.ExtDataFile: true,
	}
	seen := map[uint32]bool{}
	for _, e := range h.Extensions {
		if seen[e.Type] {
			r.grave("extension", "header extension %#x is there twice", e.Type)
		}
		seen[e.Type] = true
		if !known[e.Type] {
			r.note("extension", "header extension %#x of %d bytes is unknown", e.Type, len(e.Data))
		}
	}
}
