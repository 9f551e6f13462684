package qcow2

// Refcount entries of 1 to 64 bits. qcow2.txt "Host cluster management": less than a byte counts from the least significant bit.

// refGet returns refcount i of a block.
func refGet(b []byte, order uint32, i int) uint64 {
	switch order {
	case 4:
		return uint64(be.Uint16(b[2*i:]))
	case 3:
		return uint64(b[i])
	case 5:
		return uint64(be.Uint32(b[4*i:]))
	case 6:
		return be.Uint64(b[8*i:])
	}
	width := 1 << order
	bit := i * width
	return uint64(b[bit/8]>>(bit%8)) & (1<<width - 1)
}

// refSet stores refcount i of a block.
func refSet(b []byte, order uint32, i int, v uint64) {
	switch order {
	case 4:
		be.PutUint16(b[2*i:], uint16(v))
		return
	case 3:
		b[i] = byte(v)
		return
	case 5:
		be.PutUint32(b[4*i:], uint32(v))
		return
	case 6:
		be.PutUint64(b[8*i:], v)
		return
	}
	width := 1 << order
	bit := i * width
	mask := byte(1<<width-1) << (bit % 8)
	b[bit/8] = b[bit/8]&^mask | byte(v)<<(bit%8)
}

// refBytes returns the bytes [lo, hi) of a block that hold refcount i.
func refBytes(order uint32, i int) (lo, hi int) {
	bit := i << order
	return bit / 8, (bit + 1<<order + 7) / 8
}

// refFree returns the first i >= from with refcount 0, below n; n when there is none. It looks at eight bytes a step where they are all
// in use or all free.
func refFree(b []byte, order uint32, from, n int) int {
	for i := from; i < n; {
		if bit := i << order; bit%64 == 0 && order == 4 {
			// Four refcounts at once: none is zero.
			w := be.Uint64(b[bit/8:])
			if (w-0x0001000100010001)&^w&0x8000800080008000 == 0 {
				i += 4
				continue
			}
		}
		if refGet(b, order, i) == 0 {
			return i
		}
		i++
	}
	return n
}
