package qcow2

import "github.com/blkbench/blkbench/engine"

// SnapshotRecord is an entry of the snapshot table. qcow2.txt "Snapshots".
type SnapshotRecord struct {
	L1TableOffset uint64
	L1Size        uint32 // entries
	ID, Name      string
	DateSec       uint32
	DateNsec      uint32
	VMClockNsec   uint64
	VMStateSize   uint64 // bytes
	DiskSize      uint64 // bytes; the image's own where the entry does not say
	Icount        uint64 // all ones when unknown
	Extra         []byte // extra data beyond what is known, kept
	extraLen      uint32 // as on disk: how much extra data there was
}

const snapshotHeadLen = 40 // bytes

// parseSnapshot reads one entry from b; n is its padded length. It answers errShort when b ends too early.
func parseSnapshot(b []byte, imageSize uint64) (r SnapshotRecord, n int, err error) {
	if len(b) < snapshotHeadLen {
		return r, 0, errShort
	}
	r = SnapshotRecord{
		L1TableOffset: be.Uint64(b), L1Size: be.Uint32(b[8:]), DateSec: be.Uint32(b[16:]), DateNsec: be.Uint32(b[20:]),
		VMClockNsec: be.Uint64(b[24:]), VMStateSize: uint64(be.Uint32(b[32:])), DiskSize: imageSize, Icount: ^uint64(0),
	}
	idLen, nameLen, extra := int(be.Uint16(b[12:])), int(be.Uint16(b[14:])), be.Uint32(b[36:])
	if extra > maxSnapshotExtra {
		return r, 0, engine.Errf(engine.ErrCorrupt, "too much extra metadata in snapshot table entry: %d bytes", extra)
	}
	r.extraLen = extra
	n = snapshotHeadLen + int(extra) + idLen + nameLen
	if len(b) < n {
		return r, 0, errShort
	}
	x := b[snapshotHeadLen : snapshotHeadLen+int(extra)]
	if len(x) >= 8 {
		r.VMStateSize = be.Uint64(x)
	}
	if len(x) >= 16 {
		r.DiskSize = be.Uint64(x[8:])
	}
	if len(x) >= 24 {
		r.Icount = be.Uint64(x[16:])
	}
	if len(x) > 24 {
		r.Extra = append([]byte(nil), x[24:]...)
	}
	at := snapshotHeadLen + int(extra)
	r.ID, r.Name = string(b[at:at+idLen]), string(b[at+idLen:at+idLen+nameLen])
	return r, (n + 7) &^ 7, nil
}

// ParseSnapshots reads a whole table of count entries; used is its length in bytes.
func ParseSnapshots(b []byte, count int, imageSize uint64) (list []SnapshotRecord, used int, err error) {
	for range count {
		r, n, err := parseSnapshot(b[min(used, len(b)):], imageSize)
		if err != nil {
			return list, used, err
		}
		list = append(list, r)
		if used += n; used > maxSnapshotTable {
			return list, used, engine.Errf(engine.ErrRange, "Snapshot table too large")
		}
	}
	return list, used, nil
}

// appendSnapshot writes an entry with the extra data of today.
func appendSnapshot(b []byte, r *SnapshotRecord) []byte {
	start := len(b)
	b = be.AppendUint64(b, r.L1TableOffset)
	b = be.AppendUint32(b, r.L1Size)
	b = be.AppendUint16(b, uint16(len(r.ID)))
	b = be.AppendUint16(b, uint16(len(r.Name)))
	b = be.AppendUint32(b, r.DateSec)
	b = be.AppendUint32(b, r.DateNsec)
	b = be.AppendUint64(b, r.VMClockNsec)
	if small := uint32(r.VMStateSize); uint64(small) == r.VMStateSize {
		b = be.AppendUint32(b, small)
	} else {
		b = be.AppendUint32(b, 0)
	}
	b = be.AppendUint32(b, uint32(24+len(r.Extra)))
	b = be.AppendUint64(b, r.VMStateSize)
	b = be.AppendUint64(b, r.DiskSize)
	b = be.AppendUint64(b, r.Icount)
	b = append(b, r.Extra...)
	b = append(b, r.ID...)
	b = append(b, r.Name...)
	return append(b, make([]byte, -(len(b)-start)&7)...)
}

// MarshalSnapshots writes a table.
func MarshalSnapshots(list []SnapshotRecord) []byte {
	var b []byte
	for i := range list {
		b = appendSnapshot(b, &list[i])
	}
	return b
}
