package partition

// Marker ends a transaction of a producer in a partition: it is what a control batch says (Kafka's EndTransactionMarker).
type Marker struct {
	ProducerID       int64
	ProducerEpoch    int16
	Commit           bool  // or abort
	CoordinatorEpoch int32 // of the transaction coordinator that wrote it, which fences earlier ones
	// Version is the transaction.version that the transaction ends under, 0 to 2 (KIP-890).
	Version int16
}
