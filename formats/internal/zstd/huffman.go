package zstd

import "slices"

// Limits of the code of literals. RFC 8878 §4.2.1
const (
	maxCodeBits      = 11
	maxWeightLog     = 6
	maxDirectWeights = 128
)

// huffman is the code of the literals of a block.
type huffman struct {
	words  [256]uint16 // code<<4 | length
	lens   [256]uint8
	leaves [256]uint32 // frequency<<8 | symbol
	inner  [256]uint32 // frequencies of inner nodes
	parent [512]uint16
	depth  [512]uint8

	weights [256]uint8
	norm    [maxCodeBits + 2]int16
	freq    [maxCodeBits + 2]uint32
	max     uint8 // longest code word
	last    int   // last symbol that occurs
}

// build makes the best code for the frequencies that has no word of more than maxCodeBits; at least two symbols occur. It returns what
// the literals take, in bits.
func (h *huffman) build(freq *[256]uint32) int {
	n := 0
	clear(h.lens[:])
	for s, f := range freq {
		if f > 0 {
			h.leaves[n&255] = f<<8 | uint32(s)
			n++
			h.last = s
		}
	}
	leaves := h.leaves[:n]
	slices.Sort(leaves)
	// Two queues: leaves, and inner nodes in the order of their making, which is that of their weights. Nodes are numbered leaves first.
	li, ni := 0, 0
	for made := range n - 1 {
		sum := uint32(0)
		for range 2 {
			if ni >= made || (li < n && leaves[li]>>8 <= h.inner[ni]) {
				sum += leaves[li] >> 8
				h.parent[li] = uint16(n + made)
				li++
			} else {
				sum += h.inner[ni]
				h.parent[n+ni] = uint16(n + made)
				ni++
			}
		}
		h.inner[made] = sum
	}
	var count [maxCodeBits + 1]int
	root := 2*n - 2
	h.depth[root] = 0
	for i := root - 1; i >= 0; i-- {
		h.depth[i] = h.depth[h.parent[i]] + 1
		if i < n {
			count[min(h.depth[i], maxCodeBits)]++
		}
	}
	shorten(&count)
	// The rarest symbols get the longest words.
	total, i := 0, 0
	h.max = 0
	for l := uint8(maxCodeBits); l > 0; l-- {
		if count[l] > 0 && h.max == 0 {
			h.max = l
		}
		for range count[l] {
			h.lens[uint8(leaves[i])] = l
			total += int(leaves[i]>>8) * int(l)
			i++
		}
	}
	h.assign(&count)
	return total
}

// shorten makes the code complete again after words that are too long were cut.
func shorten(count *[maxCodeBits + 1]int) {
	over := -1 << maxCodeBits
	for l := 1; l <= maxCodeBits; l++ {
		over += count[l] << (maxCodeBits - l)
	}
	for ; over > 0; over-- {
		// A word of the limit becomes the brother of a shorter one, which gets longer by a bit.
		count[maxCodeBits]--
		for l := maxCodeBits - 1; l > 0; l-- {
			if count[l] > 0 {
				count[l]--
				count[l+1] += 2
				break
			}
		}
	}
}

// assign gives out the code words: the longest come first, in the order of the symbols. RFC 8878 §4.2.1.3
func (h *huffman) assign(count *[maxCodeBits + 1]int) {
	var next [maxCodeBits + 2]uint16
	code := uint16(0)
	for l := int(h.max); l > 0; l-- {
		next[l] = code
		code = (code + uint16(count[l])) >> 1
	}
	for s := range h.last + 1 {
		l := h.lens[s]
		h.words[s] = next[l]<<4 | uint16(l)
		if l > 0 {
			next[l]++
		}
	}
}

// describe writes the description of the code: the weights of all symbols but the last. False when there is none. RFC 8878 §4.2.1.1
func (h *huffman) describe(w *bitWriter, t *fseTable) bool {
	n := h.last
	clear(h.freq[:])
	for s := range n {
		v := uint8(0)
		if l := h.lens[s]; l > 0 {
			v = h.max + 1 - l
		}
		h.weights[s] = v
		h.freq[v]++
	}
	start := w.pos
	if h.describeFSE(w, t, n) {
		size := w.pos - start - 1
		if size < maxDirectWeights && (n > maxDirectWeights || size < (n+1)/2) {
			w.out[start] = byte(size)
			return true
		}
	}
	w.pos, w.buf, w.n = start, 0, 0
	if n > maxDirectWeights {
		return false
	}
	w.bytes(byte(127 + n))
	h.weights[n] = 0
	for s := 0; s < n; s += 2 {
		w.bytes(h.weights[s]<<4 | h.weights[s+1])
	}
	return true
}

// describeFSE writes the weights by FSE, with two states that take turns, behind a byte left for the size. RFC 8878 §4.2.1.2
func (h *huffman) describeFSE(w *bitWriter, t *fseTable, n int) bool {
	symbols, last := 0, 0
	for v, f := range h.freq {
		if f > 0 {
			symbols, last = symbols+1, v
		}
	}
	if symbols < 2 || n < 3 {
		return false
	}
	log := tableLog(uint32(n), symbols, maxWeightLog)
	normalize(h.norm[:], h.freq[:last+1], uint32(n), log)
	t.build(h.norm[:last+1], log)
	w.pos++
	w.describe(h.norm[:last+1], log)
	var state [2]uint32
	state[(n-1)&1] = t.start(h.weights[n-1])
	state[n&1] = t.start(h.weights[n-2])
	for i := n - 3; i >= 0; i-- {
		state[i&1] = w.symbol(t, state[i&1], h.weights[i])
		w.flush()
	}
	w.put(uint64(state[1])&(1<<log-1), log)
	w.put(uint64(state[0])&(1<<log-1), log)
	w.end()
	return true
}
