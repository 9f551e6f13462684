package qcow2

import (
	"bytes"
	"fmt"
	"strings"
)

// Feature bits. qcow2.txt "Header".
const (
	IncompatDirty       uint64 = 1 << 0
	IncompatCorrupt     uint64 = 1 << 1
	IncompatDataFile    uint64 = 1 << 2
	IncompatCompression uint64 = 1 << 3
	IncompatExtendedL2  uint64 = 1 << 4
	incompatKnown              = IncompatDirty | IncompatCorrupt | IncompatDataFile | IncompatCompression | IncompatExtendedL2

	CompatLazyRefcounts uint64 = 1 << 0

	AutoclearBitmaps uint64 = 1 << 0
	AutoclearDataRaw uint64 = 1 << 1
	autoclearKnown          = AutoclearBitmaps | AutoclearDataRaw
)

// FeatureName is an entry of the feature name table. qcow2.txt "Feature name table".
type FeatureName struct {
	Type uint8 // 0 incompatible, 1 compatible, 2 autoclear
	Bit  uint8
	Name string // at most 46 bytes
}

const featureNameSize = 48 // bytes on disk

// knownFeatures is the table that new images carry, so that older software can name what it does not know.
var knownFeatures = []FeatureName{
	{0, 0, "dirty bit"},
	{0, 1, "corrupt bit"},
	{0, 2, "external data file"},
	{0, 3, "compression type"},
	{0, 4, "extended L2 entries"},
	{1, 0, "lazy refcounts"},
	{2, 0, "bitmaps"},
	{2, 1, "raw external data"},
}

// parseFeatureNames reads a table; a rest shorter than an entry is ignored.
func parseFeatureNames(b []byte) []FeatureName {
	var names []FeatureName
	for ; len(b) >= featureNameSize; b = b[featureNameSize:] {
		name, _, _ := bytes.Cut(b[2:featureNameSize], []byte{0})
		names = append(names, FeatureName{b[0], b[1], string(name)})
	}
	return names
}

func appendFeatureNames(b []byte, names []FeatureName) []byte {
	for _, f := range names {
		var e [featureNameSize]byte
		e[0], e[1] = f.Type, f.Bit
		copy(e[2:], f.Name)
		b = append(b, e[:]...)
	}
	return b
}

// unknownFeatures words the incompatible bits that nobody here knows, by their names where the image brings them.
func unknownFeatures(unknown uint64, names []FeatureName) string {
	var words []string
	for bit := range uint8(64) {
		if unknown&(1<<bit) == 0 {
			continue
		}
		word := fmt.Sprintf("Unknown incompatible feature: %x", uint64(1)<<bit)
		for _, f := range names {
			if f.Type == 0 && f.Bit == bit && f.Name != "" {
				word = strings.ToValidUTF8(f.Name, "?")
			}
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}
