package logs

import "slices"

// MaxMicros is the latest time that a parser may return.
const MaxMicros = maxMicros

// ParseLine reads one line.
func ParseLine(f Format, line []byte) (Record, error) {
	r := Record{Bytes: -1}
	var in interner
	err := f.row().parse(line, &r, &in)
	return r, err
}

// Fields returns the keys of a JSON object, and the text of its strings.
func Fields(line []byte) (keys []string, texts map[string]string, err error) {
	texts = map[string]string{}
	err = eachField(line, func(key []byte, v value) error {
		keys = append(keys, string(key))
		delete(texts, string(key))
		if v.kind == kindString {
			texts[string(key)] = string(v.bytes())
		}
		return nil
	})
	return keys, texts, err
}

// DetectionPlaces returns the places in detection, sorted.
func DetectionPlaces() (places []int) {
	for i := range table {
		if table[i].detect != nil {
			places = append(places, table[i].order)
		}
	}
	slices.Sort(places)
	return places
}
