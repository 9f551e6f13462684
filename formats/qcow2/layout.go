package qcow2

// Layout is what follows from a valid header, for who looks at an image without opening it.
type Layout struct{ g geometry }

// Layout returns the header's layout; Validate has passed before.
func (h *Header) Layout() Layout { return Layout{h.geometry()} }

// ClusterSize returns the bytes of a cluster.
func (l Layout) ClusterSize() int64 { return l.g.clusterSize }

// EntryBytes returns the bytes of an L2 entry.
func (l Layout) EntryBytes() int64 { return 8 * int64(l.g.entryWords) }

// CompressedRange returns the sectors that a compressed cluster's descriptor names.
func (l Layout) CompressedRange(e L2Entry) (hostOff, length int64) { return l.g.compressedRange(e) }

// UnknownIncompatible returns the incompatible features that are not known, in words; empty when there are none.
func (h *Header) UnknownIncompatible() string {
	unknown := h.Incompatible &^ incompatKnown
	if unknown == 0 {
		return ""
	}
	var names []FeatureName
	if e := h.Extension(ExtFeatureNames); e != nil {
		names = parseFeatureNames(e.Data)
	}
	return unknownFeatures(unknown, names)
}

// MaxSnapshotTable is the most bytes of a snapshot table.
const MaxSnapshotTable = maxSnapshotTable
