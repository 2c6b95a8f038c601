// Package huaweicloud is what the providers of Huawei Cloud services share: the fields of a connection, the two ways to
// authenticate, and the forms of errors.
//
// A provider composes its fields from [ConnectionFields], checks them with [Complete], opens an [API] with [Open] and
// makes its calls with [API.Call]. What can be told of a refusal without knowing the service is told by [Refusal].
//
// Requests are signed with an access key and its secret key (SDK-HMAC-SHA256), or carry a token of IAM, the identity
// service. The signature needs no session and its keys can be replaced by API; a token costs another call a day and
// dies within 30 minutes when its user changes. Huawei recommends keys.
//
// A refused key or password is never tried twice in a call, nor in the moments after: more than five failures in a row
// lock it for everybody who uses it.
// https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html
//
// Huawei's own SDK is not used: it knows no context, takes a redirect and an empty answer for success, and puts whole
// answers into its errors.
package huaweicloud
