package console

import (
	"time"

	"segue/internal/coordinator"
	"segue/internal/coordinator/txn"
)

// TransactionStats tells of transactions.
type TransactionStats struct {
	Coordinator coordinator.Stats
	txn.Counts
	// Unknown is how many shards could not tell what they hold; the figures are without them.
	Unknown int
}

type transactionMetrics struct {
	ids, oldest metric
	coordinator coordinatorMetrics
}

func newTransactionMetrics() transactionMetrics {
	return transactionMetrics{
		ids:         gauge("transactional_ids", "Transactional ids, by the state of their last transaction.", "state"),
		oldest:      gauge("transaction_oldest_seconds", "Age of the oldest transaction that is open with the coordinator; 0 if there is none."),
		coordinator: newCoordinatorMetrics("transaction_coordinator", "__transaction_state"),
	}
}

func (m *transactionMetrics) put(s scrape, st TransactionStats) {
	for state, n := range st.ByState {
		s.put(m.ids, float64(n), state.String())
	}
	age := time.Duration(0)
	if st.Oldest > 0 {
		age = max(0, time.Since(time.UnixMilli(st.Oldest)))
	}
	s.put(m.oldest, age.Seconds())
	m.coordinator.put(s, st.Coordinator, st.Unknown)
}
