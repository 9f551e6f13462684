package opts

import (
	"strings"
)

// Section is one part of a configuration file: [group] or [group "id"], then
// key = "value" lines.
type Section struct {
	Group string
	ID    string // "" where absent
	Line  int    // of the header, from 1
	Tree  *Tree
}

// ParseConfig parses the file of -readconfig: sections, values in double quotes
// without escapes, lines that begin with # are comments. Positions in errors
// are byte offsets in b.
func ParseConfig(b []byte) ([]Section, error) {
	text := string(b)
	if err := checkText(text); err != nil {
		return nil, err
	}
	var sections []Section
	root := &raw{}
	finish := func() (err error) {
		if len(sections) > 0 {
			sections[len(sections)-1].Tree, err = root.tree()
		}
		root = &raw{}
		return err
	}
	pos := 0
	for n, line := range strings.Split(text, "\n") {
		start := pos + len(line) - len(strings.TrimLeft(line, " \t"))
		pos += len(line) + 1
		line = strings.Trim(line, " \t\r")
		switch {
		case line == "" || line[0] == '#':
		case line[0] == '[':
			group, id, ok := sectionHeader(line)
			if !ok {
				return nil, &Error{Pos: start, Value: line, Want: `[group] or [group "id"]`, Kind: ErrSyntax}
			}
			if err := finish(); err != nil {
				return nil, err
			}
			sections = append(sections, Section{Group: group, ID: id, Line: n + 1})
		case len(sections) == 0:
			return nil, syntaxErr(start, "an option before the first [group]")
		default:
			if err := configLine(root, line, start); err != nil {
				return nil, err
			}
		}
	}
	if err := finish(); err != nil {
		return nil, err
	}
	return sections, nil
}

func sectionHeader(line string) (group, id string, ok bool) {
	body, ok := strings.CutSuffix(line[1:], "]")
	if !ok {
		return "", "", false
	}
	group, rest, _ := strings.Cut(body, " ")
	if !validKey(group) {
		return "", "", false
	}
	if rest = strings.TrimSpace(rest); rest == "" {
		return group, "", true
	}
	if id, ok = quoted(rest); !ok || id == "" {
		return "", "", false
	}
	return group, id, true
}

// quoted returns what is between double quotes, in which there is no other.
func quoted(s string) (string, bool) {
	if len(s) < 2 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	s = s[1 : len(s)-1]
	return s, !strings.Contains(s, `"`)
}

func configLine(root *raw, line string, pos int) error {
	key, value, ok := strings.Cut(line, "=")
	key = strings.TrimSpace(key)
	text, isQuoted := quoted(strings.TrimSpace(value))
	if !ok || !isQuoted {
		return &Error{Key: key, Pos: pos, Want: `key = "value"`, Kind: ErrSyntax}
	}
	segs, err := splitPath(key, pos)
	if err != nil {
		return err
	}
	return root.insert(segs, pos, Value{kind: KindString, text: text, pos: pos + strings.IndexByte(line, '"') + 1}, false)
}
