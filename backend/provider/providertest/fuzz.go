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

// What reading an input may allocate: some for whatever comes, and some for each of its bytes. A decoder that makes a tree
// of an input takes up to some 200 bytes a byte of it ("[[[[…" or "<a/><a/>…").
const (
	allocatesAnyway   = 4 << 20
	allocatesByteWise = 1 << 10
)

// Bounded reads an input of that size, and fails the test where this allocates more than a multiple of it.
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

// Decoded is a body as Go's decoder reads it into nothing in particular: another way than any provider's own. It is nil
// where the body is not one JSON object, as whatever proves something is.
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

// SaysError tells whether a body in one of the forms of Huawei Cloud's services has an error in it, of whatever type.
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

// IDs are the values of a field of every object in a list, in lower case; false where the list is none, or has something
// else in it.
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
