package deflate

// Limits of the format. RFC 1951 §3.2.
const (
	maxBits     = 15  // of a code word
	maxCodeBits = 7   // of a code word of the code length alphabet
	litLenSyms  = 286 // 0-255 literals, 256 the end, 257-285 lengths
	distSyms    = 30
	codeSyms    = 19
	endOfBlock  = 256
	minMatch    = 3
	maxMatch    = 258
)

// Block types. RFC 1951 §3.2.3.
const (
	blockStored = iota
	blockFixed
	blockDynamic
)

// Lengths and distances: first value and number of extra bits per symbol. RFC 1951 §3.2.5.
var (
	lengthBase = [29]uint16{
		3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 15, 17, 19, 23, 27, 31, 35, 43, 51, 59, 67, 83, 99, 115, 131, 163, 195, 227, 258,
	}
	lengthExtra = [29]uint8{0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4, 5, 5, 5, 5, 0}
	distBase    = [distSyms]uint16{
		1, 2, 3, 4, 5, 7, 9, 13, 17, 25, 33, 49, 65, 97, 129, 193, 257, 385, 513, 769, 1025, 1537, 2049, 3073, 4097, 6145, 8193, 12289, 16385,
		24577,
	}
	distExtra = [distSyms]uint8{0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7, 8, 8, 9, 9, 10, 10, 11, 11, 12, 12, 13, 13}
)

// codeOrder is the order in which the lengths of the code length alphabet are stored. RFC 1951 §3.2.7.
var codeOrder = [codeSyms]uint8{16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1, 15}

// lengthSym is the symbol of a match length, less 257, by length-3; distSym that of a distance.
var lengthSym = func() (t [maxMatch - minMatch + 1]uint8) {
	for s, base := range lengthBase {
		for n := 0; n < 1<<lengthExtra[s] && int(base)+n <= maxMatch; n++ {
			t[int(base)-minMatch+n] = uint8(s)
		}
	}
	return t
}()

// distSyms of distances up to 256 by distance-1, and of longer ones by (distance-1)>>7.
var distSymSmall, distSymLarge = func() (small, large [256]uint8) {
	for s, base := range distBase {
		for n := 0; n < 1<<distExtra[s]; n++ {
			d := int(base) + n - 1
			if d < 256 {
				small[d] = uint8(s)
			} else {
				large[d>>7] = uint8(s)
			}
		}
	}
	return small, large
}()

func distSym(dist uint32) uint8 {
	if d := dist - 1; d < 256 {
		return distSymSmall[d]
	}
	return distSymLarge[(dist-1)>>7&255]
}

// fixedLitLen and fixedDist are the code lengths of fixed blocks. RFC 1951 §3.2.6.
var fixedLitLen, fixedDist = func() (l [288]uint8, d [32]uint8) {
	for i := range l {
		switch {
		case i < 144:
			l[i] = 8
		case i < 256:
			l[i] = 9
		case i < 280:
			l[i] = 7
		default:
			l[i] = 8
		}
	}
	for i := range d {
		d[i] = 5
	}
	return l, d
}()
