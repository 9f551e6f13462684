package opts

import "strings"

// Object is one --object: a thing with an id that options refer to.
type Object struct {
	Type  string // "secret", "throttle-group", "tls-creds-x509", …
	ID    string
	Props *Tree // the remaining properties, for Bind by whoever knows Type; of a secret without its data

	secret *secretOptions // behind a pointer, which fmt shows as an address
}

// ParseObject parses "secret,id=s0,file=PATH,format=raw" or the same as a JSON
// object with "qom-type". The properties of a secret are checked here, those of
// other types by who binds them.
func ParseObject(s string) (Object, error) {
	var t *Tree
	var err error
	if strings.HasPrefix(s, "{") {
		t, err = ParseJSON([]byte(s))
	} else {
		t, err = ParseKeyvalImplied(s, "qom-type")
	}
	if err != nil {
		return Object{}, err
	}
	var head struct {
		Type string `opt:"qom-type" required:"true"`
		ID   string `opt:"id" required:"true"`
	}
	if err := t.Bind(&head); err != nil {
		return Object{}, err
	}
	if !validID(head.ID) {
		return Object{}, &Error{Key: "id", Value: head.ID, Pos: -1, Want: "a letter, then letters, digits, '-', '.' and '_'", Kind: ErrValue}
	}
	t.Delete("qom-type")
	t.Delete("id")
	o := Object{Type: head.Type, ID: head.ID, Props: t}
	if o.Type != "secret" {
		return o, nil
	}
	o.secret = new(secretOptions)
	if err := t.Bind(o.secret); err != nil {
		return Object{}, err
	}
	if err := t.Unused(); err != nil {
		return Object{}, err
	}
	t.Delete("data")
	return o, o.secret.check(o.ID)
}

// validID reports whether s may name an object: a letter, then letters, digits,
// '-', '.' and '_'.
func validID(s string) bool {
	for i := range len(s) {
		c := s[i]
		letter := (c|0x20) >= 'a' && (c|0x20) <= 'z'
		other := c >= '0' && c <= '9' || c == '-' || c == '.' || c == '_'
		if !letter && (!other || i == 0) {
			return false
		}
	}
	return s != "" && len(s) <= maxKey
}

// Objects is a set of objects by id.
type Objects struct{ list []Object }

// Add parses s and adds it; an id that is taken is a conflict.
func (o *Objects) Add(s string) error {
	obj, err := ParseObject(s)
	if err != nil {
		return err
	}
	return o.Put(obj)
}

// Put adds an object.
func (o *Objects) Put(obj Object) error {
	if _, ok := o.Get(obj.ID); ok {
		return &Error{Key: "id", Value: obj.ID, Pos: -1, Msg: "given to another object already", Kind: ErrConflict}
	}
	o.list = append(o.list, obj)
	return nil
}

// Get returns the object with an id. A nil set is empty.
func (o *Objects) Get(id string) (Object, bool) {
	if o == nil {
		return Object{}, false
	}
	for _, obj := range o.list {
		if obj.ID == id {
			return obj, true
		}
	}
	return Object{}, false
}

// IDs returns the ids of the objects of one type, in the order they were added.
func (o *Objects) IDs(typ string) []string {
	if o == nil {
		return nil
	}
	var ids []string
	for _, obj := range o.list {
		if obj.Type == typ {
			ids = append(ids, obj.ID)
		}
	}
	return ids
}
