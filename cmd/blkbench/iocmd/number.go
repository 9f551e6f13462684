package iocmd

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/blkbench/blkbench/engine/opts"
)

const (
	// maxRequest is the most bytes of a request, as QEMU has it.
	maxRequest = 1<<31 - 512
	sectorSize = 512 // bytes
)

// number reads a size or an offset. It prints what is wrong.
func (c *call) number(text string) (int64, bool) {
	n, err := opts.ParseSize(text)
	if err == nil {
		return n, true
	}
	msg := "Parsing error: non-numeric argument, or extraneous/unrecognized suffix"
	if oe, ok := errors.AsType[*opts.Error](err); ok && oe.Msg == "too large" {
		msg = "Parsing error: argument too large"
	}
	c.printf("%s -- %s\n", msg, text)
	return 0, false
}

// pattern reads a byte. It prints what is wrong.
func (c *call) pattern(text string) (byte, bool) {
	digits := strings.TrimPrefix(strings.TrimLeft(text, " \t"), "+")
	base := 10
	switch {
	case len(digits) > 2 && (strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0X")):
		base, digits = 16, digits[2:]
	case len(digits) > 1 && digits[0] == '0':
		base = 8
	}
	v, err := strconv.ParseUint(digits, base, 8)
	if err != nil {
		c.printf("%s is not a valid pattern byte\n", text)
		return 0, false
	}
	return byte(v), true
}

// aligned checks what only whole sectors will do for.
func (c *call) aligned(what string, n int64) bool {
	if n%sectorSize != 0 {
		c.printf("%d is not a sector-aligned value for '%s'\n", n, what)
		return false
	}
	return true
}

// lengths reads the pieces of a request.
func (c *call) lengths(args []string) ([]int64, int64, bool) {
	list := make([]int64, 0, len(args))
	total := int64(0)
	for _, text := range args {
		n, ok := c.number(text)
		if !ok {
			return nil, 0, false
		}
		if n > maxRequest {
			c.printf("Argument '%s' exceeds maximum size %d\n", text, maxRequest)
			return nil, 0, false
		}
		if total > maxRequest-n {
			c.printf("The total number of bytes exceed the maximum size %d\n", maxRequest)
			return nil, 0, false
		}
		list, total = append(list, n), total+n
	}
	return list, total, true
}

func (c *call) printf(format string, args ...any) { c.s.print(fmt.Sprintf(format, args...)) }
