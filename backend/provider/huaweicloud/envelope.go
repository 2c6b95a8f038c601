package huaweicloud

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

// Envelope is what Huawei Cloud says about an error, in any of the forms that its services use.
type Envelope struct {
	// Code is the error code ("DCS.4961", "APIGW.0301"), or "" where the form has none that can be shown.
	Code string
	// RequestID identifies the call to Huawei's support; it may be there without an error.
	RequestID string
	// Refusal tells that the answer is an error in a known form, with or without a code.
	Refusal bool
	// Error tells that there is an error in the answer, in a known form or in one that cannot be read: it is no success.
	Error bool
}

// Prefix is the service that the code is of: "DCS" of "DCS.4961", "APIGW" for the gateway, whatever it calls itself.
func (e Envelope) Prefix() string {
	prefix, _, found := strings.Cut(e.Code, ".")
	switch {
	case !found:
		return ""
	case prefix == "APIG":
		// The gateway's name in its own documents and in older regions.
		return "APIGW"
	default:
		return prefix
	}
}

var serviceCodes = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,15}\.[0-9]{1,8}$`)

// nativeForms are errors of the OpenStack services beneath: {"badRequest":{"code":400,"message":"…"}}.
var nativeForms = []string{
	"badRequest", "unauthorized", "forbidden", "itemNotFound", "conflictingRequest", "overLimit", "computeFault",
}

// errorFields are the fields of all forms of errors.
var errorFields = append([]string{"error_code", "error"}, nativeForms...)

// ParseEnvelope reads an answer. It never fails: an answer that is nothing known has the zero Envelope, but for the
// request id from the header.
//
// The forms: {"error_code":"DCS.4961",…} of regional services and the gateway, {"error":{"code":401,…}} of IAM with the
// code as a number or as text, and the native ones.
func ParseEnvelope(response *transport.Response) Envelope {
	envelope := Envelope{RequestID: requestID(response)}
	object, ok := ParseObject(response.Body)
	if !ok {
		return envelope
	}
	if envelope.RequestID == "" {
		envelope.RequestID = response.RequestID(object.Text("request_id"))
	}
	envelope.Error = slices.ContainsFunc(errorFields, object.Has)
	switch {
	case object.Text("error_code") != "":
		envelope.Refusal = true
		envelope.Code = serviceCode(response, object.Text("error_code"))
	case object.Object("error") != nil:
		nested := object.Object("error")
		envelope.Refusal = nested.Text("code") != "" || nested.Text("message") != ""
		envelope.Code = serviceCode(response, nested.Text("code"))
	default:
		for _, name := range nativeForms {
			if object.Object(name) != nil {
				envelope.Refusal = true
			}
		}
	}
	return envelope
}

// serviceCode drops codes that only repeat the status (401), and what is no code at all: a password may look like one.
func serviceCode(response *transport.Response, text string) string {
	if serviceCodes.MatchString(text) && !response.Echoes(text) {
		return text
	}
	return ""
}

func requestID(response *transport.Response) string {
	for _, name := range []string{"X-Request-Id", "X-IAM-Trace-Id"} {
		if id := response.RequestID(response.Header.Get(name)); id != "" {
			return id
		}
	}
	return ""
}

// Object is a JSON object of an answer. Huawei's services give the same field as a number, as text or as null,
// depending on the service and its version; the getters take them all.
type Object map[string]json.RawMessage

// Format hides what is in it: it could be anything.
func (o Object) Format(f fmt.State, _ rune) {
	_, _ = fmt.Fprintf(f, "object of %d fields (hidden)", len(o))
}

// ParseObject reads a body that is one JSON object and nothing else.
func ParseObject(body []byte) (Object, bool) {
	var object Object
	if json.Unmarshal(body, &object) != nil || object == nil {
		return nil, false
	}
	return object, true
}

// Has tells whether a field is there and neither null nor an empty text.
func (o Object) Has(name string) bool {
	raw := string(o[name])
	return raw != "" && raw != "null" && raw != `""`
}

// Text returns a field that is text or a number; "" for anything else.
func (o Object) Text(name string) string {
	raw := o[name]
	if len(raw) == 0 {
		return ""
	}
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var number json.Number
	if json.Unmarshal(raw, &number) == nil {
		return number.String()
	}
	return ""
}

// Object returns a field that is an object; nil for anything else.
func (o Object) Object(name string) Object {
	object, _ := ParseObject(o[name])
	return object
}

// Objects returns a field that is a list of objects; false for anything else.
func (o Object) Objects(name string) ([]Object, bool) {
	var list []Object
	if json.Unmarshal(o[name], &list) != nil || list == nil {
		return nil, false
	}
	for _, object := range list {
		if object == nil {
			return nil, false
		}
	}
	return list, true
}
