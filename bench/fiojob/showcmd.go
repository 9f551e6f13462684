package fiojob

import "strings"

// ShowCmd writes the job files of a plan as command lines, one line to a file,
// as fio --showcmd does; prog is what the line starts with. Values that a shell
// would read as something else are quoted.
func (p *Plan) ShowCmd(prog string) string {
	var b strings.Builder
	file := 0
	for _, s := range p.sections {
		if s.fromArgs {
			continue
		}
		if s.file != file {
			if file != 0 {
				b.WriteByte('\n')
			}
			b.WriteString(prog + " ")
			file = s.file
		}
		if s.name != "" {
			b.WriteString("--name=" + quote(s.name) + " ")
		}
		for _, kv := range s.options {
			b.WriteString("--" + kv.Key)
			switch {
			case kv.Bare:
			case kv.Key == "description" && !strings.ContainsAny(kv.Value, "\"$`\\"):
				b.WriteString("=\"" + kv.Value + "\"")
			default:
				b.WriteString("=" + quote(kv.Value))
			}
			b.WriteByte(' ')
		}
	}
	if file != 0 {
		b.WriteByte('\n')
	}
	return b.String()
}

// plainShell are the characters a shell takes as they are.
const plainShell = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_^"

func quote(s string) string {
	if s != "" && strings.Trim(s, plainShell) == "" {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}
