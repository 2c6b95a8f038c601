package providertest

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"runtime/metrics"
	"strings"
	"testing"
)

// Limits of the memory that reading an input may allocate: a constant amount, plus an amount for each byte. A decoder
// that builds a tree takes up to about 200 bytes for each byte of the input ("[[[[…" or "<a/><a/>…").
const (
	allocatesAnyway   = 4 << 20
	allocatesByteWise = 1 << 10
)

// Bounded calls read for an input of the given size, and fails the test if it allocates too much memory for that size.
func Bounded(t *testing.T, size int, read func()) {
	t.Helper()
	before := allocated()
	read()
	if took := allocated() - before; took > allocatesAnyway+uint64(max(0, size))*allocatesByteWise {
		t.Fatalf("reading %d bytes allocated %d", size, took)
	}
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// Decoded decodes a body with Go's decoder into a generic map, independently of the parsers of the providers. It returns
// nil if the body is not exactly one JSON object, as every response that proves something is.
func Decoded(body []byte) map[string]any {
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var object map[string]any
	if decoder.Decode(&object) != nil {
		return nil
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil
	}
	return object
}

// SaysError reports whether a body contains an error in one of the forms of Huawei Cloud's services, of any JSON type.
func SaysError(object map[string]any) bool {
	for _, name := range []string{
		"error_code", "error", "badRequest", "unauthorized", "forbidden", "itemNotFound", "conflictingRequest", "overLimit", "computeFault",
	} {
		if value := object[name]; value != nil && value != "" {
			return true
		}
	}
	return false
}

// IDs returns the values of a field of every object in a list, in lower case. It returns false if list is not a list of
// objects.
func IDs(list any, field string) ([]string, bool) {
	entries, ok := list.([]any)
	out := make([]string, 0, len(entries))
	for _, entry := range entries {
		object, isObject := entry.(map[string]any)
		if !isObject {
			return nil, false
		}
		id, _ := object[field].(string)
		out = append(out, strings.ToLower(id))
	}
	return out, ok
}
