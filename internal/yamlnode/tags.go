package yamlnode

import (
	"reflect"
	"slices"
	"strings"
)

// Options are what the struct tag `config` says of a field, besides its type.
//
//	size      an int64 or int is a number of bytes: 512KiB, 10MiB
//	secret    a string is a secret, and masked where the file is shown
//	url       a string is a URL whose password is masked
//	path      a string is a file's path; a relative one starts at the file that names it.
//	          Words that are no paths follow with an equals sign: path=stdout|off
//	off       `off` means the zero value of a string, an empty list, or 0 of a duration
//	switch    a bool is written on or off
//	not       a bool is written the other way round: the key is true where the field is false
//	none      a written 0 means none and becomes -1, as the field's zero stands for its default
//	optional  a struct is a section that may be left out: `off` is its zero value, in which
//	          the field tagged isoff, if there is one, is true; `on` is its defaults
//	isoff     see optional
//	protects  an optional section or a switch refuses requests: more is let through where it is off
//	loosens   more is let through where a number is larger, a switch is on, or a list is longer
//	tightens  less is let through then
//	bound     as loosens, and 0 is no bound
//	self      a struct may be written as the value of this field alone
//	list      a struct may be written as a list, which is the value of this field
//	one       a list of numbers is written as one number; 0 is an empty list
//	add       what several files say adds up, instead of replacing the default
//	headers   a map's values are masked where its keys are names of headers that hold secrets
type Options struct {
	words []string
	Want  string // the struct tag `want`: what is expected, for errors: "a path"
}

func parseOptions(tag reflect.StructTag) Options {
	o := Options{Want: tag.Get("want")}
	if text := tag.Get("config"); text != "" {
		o.words = strings.Split(text, ",")
	}
	return o
}

// Has reports whether the tag has a word.
func (o Options) Has(word string) bool { return slices.Contains(o.words, word) }

// ofItems are the options of a list's items.
func (o Options) ofItems() Options {
	o.words = slices.DeleteFunc(slices.Clone(o.words), func(w string) bool { return w == "off" })
	return o
}

// path reports whether a string is a path, and which words are none.
func (o Options) path() (words []string, ok bool) {
	for _, w := range o.words {
		if name, rest, _ := strings.Cut(w, "="); name == "path" {
			return strings.Split(rest, "|"), true
		}
	}
	return nil, false
}

// Field is a field of a struct that has a key.
type Field struct {
	Name  string // the key
	Index []int
	Type  reflect.Type
	Options
	Required string // how to mend it where it is missing; "" where it need not be there
	Unless   string // the key that may be there in its place; "" for none
}

// Fields lists the fields of a struct type that have keys, embedded ones included, in their order.
func Fields(t reflect.Type) []Field {
	var list []Field
	for _, f := range reflect.VisibleFields(t) {
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		if name == "" || name == "-" || !f.IsExported() {
			continue
		}
		list = append(list, Field{name, f.Index, f.Type, parseOptions(f.Tag), f.Tag.Get("required"), f.Tag.Get("unless")})
	}
	return list
}

// tagged finds the field of a struct type whose config tag has a word.
func tagged(t reflect.Type, word string) (reflect.StructField, bool) {
	if t.Kind() == reflect.Struct {
		for i := range t.NumField() {
			if f := t.Field(i); parseOptions(f.Tag).Has(word) {
				return f, true
			}
		}
	}
	return reflect.StructField{}, false
}

// IsOff reports whether an optional section is left out or switched off.
func IsOff(v reflect.Value) bool {
	if f, ok := tagged(v.Type(), "isoff"); ok {
		return v.FieldByIndex(f.Index).Bool()
	}
	return v.IsZero()
}

// Section reports whether a type is written as a mapping of its own, rather than as a scalar or a list.
func Section(t reflect.Type) bool {
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	_, list := tagged(t, "list")
	return t.Kind() == reflect.Struct && !list && !isText(t)
}

// withDefaults makes a new value of a type, with its defaults.
func withDefaults(t reflect.Type) reflect.Value {
	v := reflect.New(t).Elem()
	setDefaults(v)
	return v
}

// setDefaults fills in a value, or what its pointer is going to point at.
func setDefaults(v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v.Set(reflect.New(v.Type().Elem()))
		v = v.Elem()
	}
	if d, ok := v.Addr().Interface().(interface{ SetDefaults() }); ok {
		d.SetDefaults()
	}
}
