package nvme

import "unsafe"

// prpPerPage is how many entries a PRP list page holds.
const prpPerPage = pageSize / 8

// maxListTransfer is what one list page and the first entry can describe from any offset within a page.
const maxListTransfer = prpPerPage * pageSize

// setPRP points c at n bytes at iova, which are contiguous for the device. What two entries cannot describe goes into
// the list page. NVMe Base 2.0d §4.1.1
func setPRP(c *Command, iova uint64, n uint32, list Region) {
	c.PRP1 = iova
	first := pageSize - uint32(iova&(pageSize-1))
	if n <= first {
		c.PRP2 = 0
		return
	}
	next := iova + uint64(first)
	if n-first <= pageSize {
		c.PRP2 = next
		return
	}
	entries := unsafe.Slice((*uint64)(unsafe.Pointer(unsafe.SliceData(list.Bytes))), prpPerPage)
	count := (n - first + pageSize - 1) / pageSize
	for i := range entries[:count] {
		entries[i] = next
		next += pageSize
	}
	c.PRP2 = list.IOVA
}

// setSGL points c at n bytes at iova by one data block descriptor. NVMe Base 2.0d §4.1.2, figure 105
func setSGL(c *Command, iova uint64, n uint32) {
	c.Flags |= flagSGL
	c.PRP1 = iova
	c.PRP2 = uint64(n)
}
