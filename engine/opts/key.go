package opts

import (
	"fmt"
	"strings"
)

// normKey makes the two spellings of a key equal: QEMU's image options have
// underscores, its block options hyphens, and manuals mix them.
func normKey(s string) string {
	if strings.IndexByte(s, '_') < 0 {
		return s
	}
	return strings.ReplaceAll(s, "_", "-")
}

// sameKey compares two keys as normKey would, without building strings.
func sameKey(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		x, y := a[i], b[i]
		if x == y {
			continue
		}
		if (x != '_' && x != '-') || (y != '_' && y != '-') {
			return false
		}
	}
	return true
}

// validKey reports whether s is one key: a letter or underscore, then letters,
// digits, underscores and hyphens.
func validKey(s string) bool {
	if s == "" || len(s) > maxKey {
		return false
	}
	for i := range len(s) {
		c := s[i]
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
		case i > 0 && (c >= '0' && c <= '9' || c == '-'):
		default:
			return false
		}
	}
	return true
}

// isIndex reports whether s is written as a list index, in range or not.
func isIndex(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	return true
}

// listIndex parses a list index below MaxKeys: decimal, no leading zero.
func listIndex(s string) (int, bool) {
	if !isIndex(s) || len(s) > 4 || (len(s) > 1 && s[0] == '0') {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		n = n*10 + int(s[i]-'0')
	}
	return n, n < MaxKeys
}

// splitPath cuts a dotted path into keys and list indices and checks each.
func splitPath(path string, pos int) ([]string, error) {
	segs := strings.Split(path, ".")
	if len(segs) > MaxDepth {
		return nil, syntaxErr(pos, "a key nested deeper than %d", MaxDepth)
	}
	for _, s := range segs {
		switch {
		case isIndex(s):
			if _, ok := listIndex(s); !ok {
				return nil, &Error{Key: path, Pos: pos, Msg: "list index " + display(s), Want: fmt.Sprintf("a number below %d", MaxKeys), Kind: ErrSyntax}
			}
		case !validKey(s):
			return nil, &Error{Key: redactText(path), Pos: pos, Msg: "not a key", Want: "letters, digits, '-' and '_', dots between", Kind: ErrSyntax}
		}
	}
	return segs, nil
}
