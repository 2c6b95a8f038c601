// Package huaweicloud holds what the providers of Huawei Cloud services share: connection fields, the two authentication
// methods, and error formats.
//
// A provider embeds [Service], validates connections with [Complete], opens an [API] with [Open] and makes calls with
// [API.Check] and [API.Call]. [API.Refusal] interprets a refusal as far as that is the same for all services.
//
// Requests are signed with an access key and its secret key (SDK-HMAC-SHA256), or carry a token of IAM, the identity
// service. A signature needs no session, and keys can be replaced by API. A token costs one more call per day and becomes
// invalid within 30 minutes when its user is modified. Huawei recommends keys.
//
// A refused key or password is never sent twice in a call, nor again within the next seconds: more than five failures in
// a row lock it for all its users.
// https://support.huaweicloud.com/intl/en-us/devg-apisign/api-sign-errorcode.html
//
// Huawei's own SDK is not used: it does not support contexts, treats redirects and empty responses as success, and
// includes entire responses in its errors.
package huaweicloud
