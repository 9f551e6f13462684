package opts

import "strings"

// ParseKeyval parses "k=v,k2=v": dotted keys nest, "server.0.host" makes lists
// (in any order, but without gaps), ",," is a comma in a value, one comma may
// end the text. All scalars are strings. The empty text is the empty tree.
func ParseKeyval(s string) (*Tree, error) { return parseKeyval(s, "", false) }

// ParseKeyvalImplied is ParseKeyval where the first item may be a value alone,
// which is then that of key: "qcow2,cluster_size=64k".
func ParseKeyvalImplied(s, key string) (*Tree, error) { return parseKeyval(s, key, false) }

// HasHelp reports whether one of the items is "help" or "?", which asks for the
// list of options and stands for no value.
func HasHelp(s string) bool {
	for s != "" {
		item, n := scanValue(s)
		if item == "help" || item == "?" {
			return true
		}
		s = s[min(n+1, len(s)):]
	}
	return false
}

func parseKeyval(s, implied string, names bool) (*Tree, error) {
	if err := checkText(s); err != nil {
		return nil, err
	}
	root := &raw{}
	afterSecret := false
	for pos := 0; pos < len(s); {
		eq := strings.IndexAny(s[pos:], "=,")
		var key string
		start := pos
		switch {
		case eq >= 0 && s[pos+eq] == '=':
			key = s[pos : pos+eq]
			start = pos + eq + 1
		case pos == 0 && implied != "" && eq != 0:
			key = implied
		default:
			return nil, noEquals(s[pos:], pos, afterSecret)
		}
		segs, err := splitPath(key, pos)
		switch {
		case err != nil && afterSecret:
			return nil, noEquals("", pos, true)
		case err != nil:
			return nil, err
		}
		text, n := scanValue(s[start:])
		if err := root.insert(segs, pos, Value{kind: KindString, text: text, pos: start}, names); err != nil {
			return nil, err
		}
		afterSecret = isSecretKey(key)
		pos = start + n + 1
	}
	return root.tree()
}

// scanValue reads up to the first comma that is not doubled and returns the
// value and the number of bytes it takes.
func scanValue(s string) (string, int) {
	doubled := false
	for i := 0; i < len(s); i++ {
		if s[i] != ',' {
			continue
		}
		if i+1 < len(s) && s[i+1] == ',' {
			doubled = true
			i++
			continue
		}
		s = s[:i]
	}
	if !doubled {
		return s, len(s)
	}
	return strings.ReplaceAll(s, ",,", ","), len(s)
}

// noEquals is the error for an item that is no KEY=VALUE. After a secret it may
// be the rest of one that holds a comma, so it is not shown there.
func noEquals(rest string, pos int, afterSecret bool) error {
	e := &Error{Pos: pos, Msg: "item without a key", Want: "KEY=VALUE, with ,, for a comma in a value", Kind: ErrSyntax}
	if item, _ := scanValue(rest); item != "" && !afterSecret {
		e.Key, e.Msg = RedactName(item), "item without a value"
	}
	return e
}

// checkText refuses what no source text may hold.
func checkText(s string) error {
	if len(s) > MaxInput {
		return syntaxErr(-1, "%d bytes of options, at most %d are read", len(s), MaxInput)
	}
	if i := strings.IndexByte(s, 0); i >= 0 {
		return syntaxErr(i, "zero byte")
	}
	return nil
}
