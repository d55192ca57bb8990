package partition

// Guard lets transactional batches of one producer's epoch into one partition, once the coordinator has confirmed that the
// partition is part of the producer's transaction (KIP-890; Kafka's VerificationGuard). Zero is none.
type Guard uint64
