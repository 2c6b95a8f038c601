package huaweicloud

import (
	"net/http"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"vault-plugin-secrets-hosting/backend/provider/transport"
)

func TestParseEnvelopeReadsEveryErrorForm(t *testing.T) {
	for body, want := range map[string]Envelope{
		`{"error_code":"DCS.4961","error_msg":"m","error_ext_msg":null}`:                              {Code: "DCS.4961", Refusal: true, Error: true},
		`{"error_code":"APIGW.0301","error_msg":"m","request_id":"5f0c1d2e3b4a59687766554433221100"}`: {Code: "APIGW.0301", RequestID: "5f0c1d2e3b4a59687766554433221100", Refusal: true, Error: true},
		`{"error":{"code":401,"message":"m","title":"Unauthorized"}}`:                                 {Refusal: true, Error: true},
		`{"error":{"code":"Ecs.0005","message":"m"}}`:                                                 {Code: "Ecs.0005", Refusal: true, Error: true},
		`{"error":{"code":"111404022","message":"m"}}`:                                                {Refusal: true, Error: true},
		`{"error":{"code":null,"message":"m"}}`:                                                       {Refusal: true, Error: true},
		`{"badRequest":{"code":400,"message":"m"}}`:                                                   {Refusal: true, Error: true},
		`{"itemNotFound":{"code":"404"}}`:                                                             {Refusal: true, Error: true},
		`{"error_code":4961}`:                                                                         {Refusal: true, Error: true},
		`{"error_code":"secret <b>","request_id":"not an id"}`:                                        {Refusal: true, Error: true},
		`{"error_code":"` + strings.Repeat("A", 64) + `.1"}`:                                          {Refusal: true, Error: true},
		`{"error_code":null,"error_msg":null}`:                                                        {},
		`{"error_code":"","request_id":7}`:                                                            {},
		`{"error_code":{"a":1}}`:                                                                      {Error: true},
		`{"error_code":["DCS.1"]}`:                                                                    {Error: true},
		`{"error_code":true}`:                                                                         {Error: true},
		`{"error":null}`:                                                                              {},
		`{"error":"x"}`:                                                                               {Error: true},
		`{"error":[]}`:                                                                                {Error: true},
		`{"error":{}}`:                                                                                {Error: true},
		`{"badRequest":"x"}`:                                                                          {Error: true},
		`{}`:                                                                                          {},
		`[]`:                                                                                          {},
		`null`:                                                                                        {},
		`"x"`:                                                                                         {},
		`1`:                                                                                           {},
		``:                                                                                            {},
		`{"error_code":"DCS.1"`:                                                                       {},
		`{"error_code":"DCS.1"} x`:                                                                    {},
		`<html>DCS.1</html>`:                                                                          {},
		"\x00\xff":                                                                                    {},
		strings.Repeat(`{"error":`, 20000) + strings.Repeat("}", 20000):                  {},
		`{"error_code":"DCS.1","error":` + strings.Repeat("[", 20000):                    {},
		`{"result":"success","message":"Modify DCSInstance password success."}`:          {},
		`{"error_code":"APIG.0301","error_msg":"the AK is in this text: AKEXAMPLE0001"}`: {Code: "APIG.0301", Refusal: true, Error: true},
	} {
		require.Equal(t, want, ParseEnvelope(&transport.Response{Status: 400, Body: []byte(body)}), "%.100s", body)
	}
}

func TestRequestIDPrefersHeader(t *testing.T) {
	for _, name := range []string{"X-Request-Id", "X-Iam-Trace-Id"} {
		response := &transport.Response{Header: http.Header{name: {"5f0c1d2e3b4a59687766554433221100"}}, Body: []byte(`{"request_id":"other"}`)}
		require.Equal(t, "5f0c1d2e3b4a59687766554433221100", ParseEnvelope(response).RequestID)
	}
	response := &transport.Response{Header: http.Header{"X-Request-Id": {"a secret"}}}
	require.Empty(t, ParseEnvelope(response).RequestID)
}

func TestPrefixNamesSourceOfErrorCode(t *testing.T) {
	for code, want := range map[string]string{"APIGW.0301": "APIGW", "APIG.0301": "APIGW", "DCS.4961": "DCS", "": "", "x": ""} {
		require.Equal(t, want, Envelope{Code: code}.Prefix())
	}
}

func TestObjectGettersAcceptEveryType(t *testing.T) {
	object, ok := ParseObject([]byte(`{"s":"5","n":5,"f":1.5,"z":null,"b":true,"o":{"x":1},"l":[{"x":1}],"m":[{"x":1},null],"e":[]}`))
	require.True(t, ok)
	for name, want := range map[string]string{"s": "5", "n": "5", "f": "1.5", "z": "", "b": "", "o": "", "l": "", "absent": ""} {
		require.Equal(t, want, object.Text(name), name)
	}
	require.Equal(t, "1", object.Object("o").Text("x"))
	require.Nil(t, object.Object("s"))
	require.Empty(t, object.Object("absent").Object("deeper").Text("x"))
	for name, want := range map[string]bool{"l": true, "e": true, "m": false, "z": false, "s": false, "o": false, "absent": false} {
		_, ok := object.Objects(name)
		require.Equal(t, want, ok, name)
	}
}
