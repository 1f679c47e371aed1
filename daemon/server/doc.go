// Package server offers the operations of a daemon as HTTP and JSON, under
// /api/v1, with an OpenAPI document that is made from the code.
//
// [New] takes what it serves as interfaces: an api.Operations for almost
// everything, and the functions of [Config] for the rest. [Server.Serve]
// answers on the listeners that [ListenUnix] and [ListenTLS] open: a Unix
// socket, whose peers the kernel vouches for, and TCP with TLS, where a token
// says who asks. Each endpoint is one value of type endpoint: what it is called,
// what it needs, whether it is audited, and the function that does it.
//
// Promises:
//
//   - Nothing is done, and nothing told, for which the caller lacks the permission; lists hold what the
//     caller may see. Each change, each refused one too, and each reading of a disk leaves a line
//     in the audit log before the answer is sent.
//   - Names are data. A path is taken only from who has the daemon's own rights on this host, or below a
//     folder that the configuration names.
//   - Requests, their headers and bodies, the time that they take to arrive and that answers take to be
//     fetched, connections, and followers of jobs are bounded. A panic ends one request, with a line in the log.
//   - Every error is application/problem+json, an [api.Problem].
package server
