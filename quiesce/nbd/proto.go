package nbd

// Numbers of the protocol, named after it.
const (
	magicServer  = 0x4e42444d41474943 // "NBDMAGIC"
	magicOption  = 0x49484156454f5054 // "IHAVEOPT"
	magicReply   = 0x0003e889045565a9 // reply to an option
	magicRequest = 0x25609513
	magicSimple  = 0x67446698
	magicChunk   = 0x668e33ef

	flagFixedNewstyle = 1 << 0 // of the handshake, both sides
	flagNoZeroes      = 1 << 1

	optAbort             = 2
	optGo                = 7
	optStructuredReply   = 8
	optListMetaContext   = 9
	optSetMetaContext    = 10
	repAck               = 1
	repInfo              = 3
	repMetaContext       = 4
	repError             = 1 << 31 // set in every reply that is an error
	infoExport           = 0
	infoBlockSize        = 3
	cmdRead              = 0
	requestWhole         = 1 << 2 // flag of a read: the protocol's DF
	codeOverflow         = 75     // error of a read that is too long for that
	cmdDisconnect        = 2
	cmdBlockStatus       = 7
	chunkDone            = 1 << 0 // flag of a chunk: the last one of its reply
	chunkNone            = 0
	chunkOffsetData      = 1
	chunkOffsetHole      = 2
	chunkBlockStatus     = 5
	chunkError           = 1 << 15 // set in every type that is an error
	chunkErrorPlain      = chunkError + 1
	chunkErrorOffset     = chunkError + 2
	transmissionHasFlags = 1 << 0
)

// Transmission flags that an export may have, as in [Client.Flags].
const (
	FlagReadOnly  = 1 << 1
	FlagSendWhole = 1 << 7 // reads are answered in one piece where the client asks (the protocol's SEND_DF)
	FlagMultiConn = 1 << 8 // several connections see the same bytes
)

// BaseAllocation is the context that tells data from holes. Its flags are
// [Hole] and [ZeroBytes].
const BaseAllocation = "base:allocation"

// Flags of extents in the context base:allocation.
const (
	Hole      = 1 << 0 // nothing is allocated; not necessarily zeros
	ZeroBytes = 1 << 1 // reads as zeros
)

// Bounds on what a server may send.
const (
	maxString       = 4096    // bytes of any string of the protocol
	maxOptionReply  = 1 << 16 // bytes of one reply during the handshake
	maxOptionReps   = 4096    // replies to one option
	maxStatusBytes  = 8<<20 + 4
	maxScattered    = 1024 // pieces of one reply that wait for those between them
	maxErrorsOfCall = 16   // error chunks in one reply
	maxSize         = 1 << 62
	maxContexts     = 64
)

// optionError is the protocol's word for why a server refused an option.
func optionError(code uint32) string {
	switch code &^ repError {
	case 1:
		return "not supported"
	case 2:
		return "forbidden by policy"
	case 3:
		return "invalid request"
	case 4:
		return "not supported on the server's platform"
	case 5:
		return "TLS required"
	case 6:
		return "no such export"
	case 7:
		return "server is shutting down"
	case 8:
		return "block size must be negotiated"
	case 9:
		return "too big"
	case 10:
		return "extended headers required"
	}
	return "unknown reason"
}
