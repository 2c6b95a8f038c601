package backend

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/hashicorp/vault/sdk/framework"
)

// Limits of the fields of requests, in bytes. Stored values of older versions may exceed them.
const (
	maxText    = 256
	maxSecret  = 1 << 10
	maxEntries = 256 // of a list; each is at most maxText long
	maxPEM     = 64 << 10
	maxUnknown = 10 // fields that an error lists
)

// formerBool is a text field that was a boolean in earlier versions, whose clients still send one.
const formerBool = "verify"

// maxOf has the fields that may be longer than others. Those that are lists of long texts are limited as a whole.
var maxOf = map[string]int{
	"url": 1 << 10, "iam_url": 1 << 10, "reason": 1 << 10,
	"security_token": 16 << 10, "verify_host_key": maxPEM, "ca_cert": maxPEM, "verify_ca_cert": maxPEM,
}

// maxTextOf returns how long the text of a field may be.
func maxTextOf(name string, schema *framework.FieldSchema) int {
	switch limit, ok := maxOf[name]; {
	case ok:
		return limit
	case secret(schema):
		return maxSecret
	default:
		return maxText
	}
}

// describeLimits adds the limits of fields to their descriptions.
func describeLimits(paths []*framework.Path) {
	for _, path := range paths {
		for name, schema := range path.Fields {
			switch {
			case name == "name", schema.AllowedValues != nil:
			case schema.Type == framework.TypeString, schema.Type == framework.TypeStringSlice:
				schema.Description += fmt.Sprintf(" At most %d bytes.", maxTextOf(name, schema))
			case schema.Type == framework.TypeCommaStringSlice:
				schema.Description += fmt.Sprintf(" At most %d entries of %d bytes.", maxEntries, maxText)
			}
		}
	}
}

// badInput returns what is wrong with the type or the size of a value, or "". It never contains the value, which the framework
// would print if it cannot convert it: a secret may be in any field by mistake. [badValue] checks numbers and booleans.
func badInput(name string, value any, schema *framework.FieldSchema) string {
	text, isText := textOf(value)
	_, isString := value.(string)
	_, isBool := value.(bool)
	switch list := schema.Type == framework.TypeCommaStringSlice; {
	case value == nil, isBool && name == formerBool:
		return ""
	case schema.Type == framework.TypeStringSlice && !isText:
		return badTexts(name, value, schema)
	case list && !isText:
		return badList(name, value)
	case list && len(text) > maxEntries*(maxText+1): // before it is split
		return badEntries(name, make([]string, maxEntries+1))
	case list:
		return badEntries(name, strings.Split(text, ","))
	case schema.Type == framework.TypeString && !isText, secret(schema) && !isString:
		return name + " must be a string"
	case len(text) > maxTextOf(name, schema):
		return fmt.Sprintf("%s is too long: at most %d bytes are possible", name, maxTextOf(name, schema))
	default:
		return ""
	}
}

// badTexts is badInput for a list of long texts that is not given as one text.
func badTexts(name string, value any, schema *framework.FieldSchema) string {
	entries, ok := textsOf(value)
	if !ok {
		return name + " must be a list of strings, or one string with a line for each"
	}
	return badInput(name, strings.Join(entries, "\n"), schema)
}

// badList is badInput for a list that is not given as text.
func badList(name string, value any) string {
	entries, ok := textsOf(value)
	if !ok {
		return name + " must be a list of strings, or one string with commas between them"
	}
	return badEntries(name, entries)
}

// textsOf returns a list whose entries count as text.
func textsOf(value any) (entries []string, ok bool) {
	entries, ok = value.([]string)
	if list, isAny := value.([]any); isAny {
		ok = true
		for _, entry := range list {
			text, isText := textOf(entry)
			ok = ok && isText
			entries = append(entries, text)
		}
	}
	return entries, ok
}

func badEntries(name string, entries []string) string {
	if len(entries) > maxEntries {
		return fmt.Sprintf("%s is too long: at most %d entries of %d bytes are possible", name, maxEntries, maxText)
	}
	for _, entry := range entries {
		if len(entry) > maxText {
			return fmt.Sprintf("%s has an entry that is too long: at most %d bytes are possible", name, maxText)
		}
	}
	return ""
}

// textOf returns a value that counts as text: a string, or a number, because some IDs are numbers.
func textOf(value any) (text string, ok bool) {
	switch v := value.(type) {
	case string:
		return v, true
	case json.Number:
		return v.String(), true
	case int, int64, float64:
		return fmt.Sprint(v), true
	default:
		return "", false
	}
}
