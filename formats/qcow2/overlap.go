package qcow2

// Where metadata is. An image whose refcounts or tables lie would otherwise make guest writes, or new tables, go over it.

// maxTables bounds the set of table clusters: beyond it only the header and the big tables are guarded.
const maxTables = 1 << 20

// noteMetadata adds a table cluster. mu is held.
func (m *Image) noteMetadata(cluster int64) {
	if len(m.tables) < maxTables {
		m.tables[cluster] = struct{}{}
	}
}

// noteTables fills the set from the L1 and the refcount table.
func (m *Image) noteTables() {
	m.tables = make(map[int64]struct{})
	for _, w := range m.index.Load().l1 {
		if off := L1Entry(w).Offset(); off != 0 {
			m.noteMetadata(off >> m.clusterBits)
		}
	}
	for _, w := range m.refs.table {
		if off := int64(w & offsetMask); off != 0 {
			m.noteMetadata(off >> m.clusterBits)
		}
	}
}

// isMetadata reports whether a host cluster holds the header, a part of a table, or a known table. mu is held.
func (m *Image) isMetadata(cluster int64) bool {
	hostOff, end := cluster<<m.clusterBits, (cluster+1)<<m.clusterBits
	within := func(off uint64, length int64) bool { return int64(off) < end && hostOff < int64(off)+length }
	if cluster == 0 ||
		within(m.hdr.L1TableOffset, int64(m.hdr.L1Size)*8) ||
		within(m.hdr.RefcountTableOffset, int64(m.hdr.RefcountTableClusters)<<m.clusterBits) ||
		within(m.hdr.SnapshotsOffset, m.snapLen) {
		return true
	}
	_, ok := m.tables[cluster]
	return ok
}
