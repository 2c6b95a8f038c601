package huaweicloud

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The first vector is the sample of
// https://support.huaweicloud.com/intl/en-us/devg-apisign/apisign-devg-pdf.pdf ;
// the others were generated with Huawei's Go SDK and with openssl.
func TestSignaturesMatchPublishedVectors(t *testing.T) {
	const own = "SKEXAMPLE/secret+key0001"
	body := `{"new_password":"Ab1!<&>x","instance_id_set":["i1"]}`
	host := "clouddc.ap-southeast-3.myhuaweicloud.com"
	for _, c := range []struct {
		name, secret, method, url, date, body, signed string
		headers                                       map[string]string
		bodyHash, canonicalHash, signature            string
	}{
		{
			name: "guide", secret: "MFyfvK41ba2giqM7Uio6PznpdUKGpownRZlmVmHc", method: http.MethodGet, date: "20191115T033655Z",
			url:           "https://service.region.example.com/v1/77b6a44cba5143ab91d13ab9a8ff44fd/vpcs?limit=2&marker=13551d6b-755d-4757-b956-536f674975c0",
			headers:       map[string]string{"Content-Type": "application/json"},
			signed:        "content-type;host;x-sdk-date",
			canonicalHash: "b25362e603ee30f4f25e7858e8a7160fd36e803bb2dfe206278659d71a9bcd7a",
			signature:     "7be6668032f70418fcc22abc52071e57aff61b84a1d2381bb430d6870f4f6ebe",
		},
		{
			name: "SDK's JSON with a final line feed", secret: own, method: http.MethodPut, date: "20240102T030405Z",
			url: "https://" + host + "/v1/p123/instances/password", body: body + "\n",
			headers:       map[string]string{"X-Project-Id": "p123"},
			signed:        "x-project-id;x-sdk-date",
			bodyHash:      "8cbaae10174e6271630e8f3e75ff8ea0d66b998065a12bbaa2e180a3b92095d5",
			canonicalHash: "cea8e9e79a7c37139b4fb0d6e1e0f00f3740fc06a81a66cebe134fca75df4d4d",
			signature:     "b1c3cd7ed9dedc077da438eca4795f03933f583a310215c8bb9c29ec96d40f8d",
		},
		{
			name: "query and security token", secret: own, method: http.MethodGet, date: "20240102T030405Z",
			url:           "https://" + host + "/v1/p123/instances?instance_id=a%2Cb%20c&limit=10",
			headers:       map[string]string{"X-Project-Id": "p123", "X-Security-Token": "tok"},
			signed:        "x-project-id;x-sdk-date;x-security-token",
			canonicalHash: "1d97ecdcc32f3855da0000c50091b2bb32e7d2b4eab0cb4e165878358a46d945",
			signature:     "0153f488ae25e733d10c142a758f26c4bb4a445b2c09a01a5453bb2355b7960f",
		},
		{
			name: "host and content type signed", secret: own, method: http.MethodPut, date: "20240102T030405Z",
			url: "https://" + host + "/v1/p123/instances/password", body: body,
			headers:       map[string]string{"X-Project-Id": "p123", "Content-Type": "application/json;charset=UTF-8"},
			signed:        "content-type;host;x-project-id;x-sdk-date",
			bodyHash:      "740e06670b5b71420ec496789cc78e951beb42cee4d236c347c3d718f31cfb5b",
			canonicalHash: "8d2c2f858a8119c53192b5337fc0093896853aeeda21d67997c9c29efbab104f",
			signature:     "142e51832defbd4f2b17c004bb22a25dbe264b704792e4c99b5925aa667aaadf",
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest(c.method, c.url, strings.NewReader(c.body))
			r.Header.Set(dateHeader, c.date)
			for name, value := range c.headers {
				r.Header.Set(name, value)
			}
			if c.bodyHash != "" {
				assert.Equal(t, c.bodyHash, hexSHA256([]byte(c.body)))
			}
			canonical, ok := canonicalRequest(r, []byte(c.body), strings.Split(c.signed, ";"))
			require.True(t, ok)
			assert.Equal(t, c.canonicalHash, hexSHA256([]byte(canonical)))
			assert.Equal(t, c.signature, sign(c.secret, c.date, canonical))
		})
	}
}

func TestAuthorizationHeaderIsParsedStrictly(t *testing.T) {
	for header, want := range map[string]bool{
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=ab":      true,
		"SDK-HMAC-SHA256 Access=AK,SignedHeaders=host;x-sdk-date,Signature=ab":        true,
		"SDK-HMAC-SHA256, Access=AK, SignedHeaders=x-sdk-date, Signature=ab":          false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date;host, Signature=ab":      false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;host, Signature=ab":            false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=Host;x-sdk-date, Signature=ab":      false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date":                         false,
		"SDK-HMAC-SHA256 Access=, SignedHeaders=x-sdk-date, Signature=ab":             false,
		"SDK-HMAC-SHA256 SignedHeaders=x-sdk-date, Access=AK, Signature=ab":           false,
		"V11-HMAC-SHA256 Access=AK, SignedHeaders=x-sdk-date, Signature=ab":           false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=;x-sdk-date, Signature=ab":          false,
		"SDK-HMAC-SHA256 Access=AK, SignedHeaders=host;x-sdk-date, Signature=ab, X=1": false,
	} {
		_, ok := parseAuthorization(header)
		assert.Equal(t, want, ok, header)
	}
}
