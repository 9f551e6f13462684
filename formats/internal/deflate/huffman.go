package deflate

import "slices"

// codeTable is the code of an alphabet, as the writer needs it.
type codeTable struct {
	lens  [litLenSyms + 2]uint8
	words [litLenSyms + 2]uint16 // reversed: the first bit is the lowest
}

// leaf is a symbol that occurs, for the construction of a code.
type leaf struct {
	freq uint32
	sym  uint16
}

// coder makes codes; its fields are scratch.
type coder struct {
	leaves [litLenSyms]leaf
	freqs  [litLenSyms]uint32 // of inner nodes
	parent [2 * litLenSyms]uint16
	depth  [2 * litLenSyms]uint8
}

// build makes the best code of at most limit bits for the frequencies: Huffman's, with code words that are too long shortened at the
// cost of the next shorter ones. At least two symbols get a code word, since some readers want a code that is complete.
func (c *coder) build(t *codeTable, freq []uint32, limit uint8) {
	n := 0
	for s, f := range freq {
		t.lens[s] = 0
		if f > 0 {
			c.leaves[n] = leaf{f, uint16(s)}
			n++
		}
	}
	for s := 0; n < 2 && s < len(freq); s++ {
		if freq[s] == 0 {
			c.leaves[n] = leaf{1, uint16(s)}
			n++
		}
	}
	leaves := c.leaves[:n]
	slices.SortFunc(leaves, func(a, b leaf) int {
		if a.freq != b.freq {
			return int(int64(a.freq) - int64(b.freq))
		}
		return int(a.sym) - int(b.sym)
	})
	// Two queues: leaves, and inner nodes in the order of their making, which is that of their weights. Nodes are numbered leaves first.
	li, ni, made := 0, 0, 0
	pick := func(p uint16) uint32 {
		if ni >= made || (li < n && leaves[li].freq <= c.freqs[ni]) {
			c.parent[li] = p
			li++
			return leaves[li-1].freq
		}
		c.parent[n+ni] = p
		ni++
		return c.freqs[ni-1]
	}
	for made < n-1 {
		p := uint16(n + made)
		f := pick(p)
		f += pick(p)
		c.freqs[made] = f
		made++
	}
	var count [64]int
	root := n + made - 1
	c.depth[root] = 0
	for i := root - 1; i >= 0; i-- {
		d := min(c.depth[c.parent[i]]+1, 63)
		c.depth[i] = d
		if i < n {
			count[min(d, limit)]++
		}
	}
	shorten(&count, limit)
	// The rarest symbols get the longest words.
	i := 0
	for l := limit; l > 0; l-- {
		for range count[l] {
			t.lens[leaves[i].sym] = l
			i++
		}
	}
	t.assign(len(freq))
}

// shorten makes the code complete again after words longer than limit were cut.
func shorten(count *[64]int, limit uint8) {
	total := 0
	for l := uint8(1); l <= limit; l++ {
		total += count[l] << (limit - l)
	}
	for total > 1<<limit {
		// A word of the limit becomes the brother of a shorter one, which gets longer by a bit.
		count[limit]--
		for l := limit - 1; l > 0; l-- {
			if count[l] > 0 {
				count[l]--
				count[l+1] += 2
				break
			}
		}
		total--
	}
}

// assign gives the code words to lengths. RFC 1951 §3.2.2.
func (t *codeTable) assign(n int) {
	var count, next [maxBits + 1]uint16
	for _, l := range t.lens[:n] {
		count[l]++
	}
	count[0] = 0
	code := uint16(0)
	for l := 1; l <= maxBits; l++ {
		code = (code + count[l-1]) << 1
		next[l] = code
	}
	for s, l := range t.lens[:n] {
		if l > 0 {
			t.words[s] = reverse(next[l], l)
			next[l]++
		}
	}
}
