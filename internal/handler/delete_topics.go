package handler

import (
	"context"
	"slices"

	"github.com/rs/zerolog"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"segue/internal/catalog"
	"segue/internal/config"
	"segue/internal/server"
)

// The versions of DeleteTopics at which something changes.
const (
	deletionDisabledVersion = 3 // clients know TOPIC_DELETION_DISABLED
	deleteByIDVersion       = 6 // topics may be named by id (KIP-516)
)

// deleteTopics answers DeleteTopics. A topic is gone when it is answered; its folders are removed after that.
type deleteTopics struct {
	log    zerolog.Logger
	broker context.Context // that commits run under
	store  catalogStore
	config func() *config.Layers
}

// deletion is one topic of a request.
type deletion struct {
	name *string
	id   [16]byte
	err  *apiError
}

func (h *deleteTopics) handle(_ context.Context, _ *server.Client, req *kmsg.DeleteTopicsRequest) *kmsg.DeleteTopicsResponse {
	deletions := deletionsIn(req)
	if !h.config().Broker().DeleteTopics {
		err := failure(kerr.InvalidRequest, "This version does not support topic deletion.")
		if req.Version >= deletionDisabledVersion {
			err = plain(kerr.TopicDeletionDisabled)
		}
		for i := range deletions {
			deletions[i].err = err
		}
	} else {
		h.delete(deletions)
	}
	resp := req.ResponseKind().(*kmsg.DeleteTopicsResponse)
	for _, d := range deletions {
		t := kmsg.NewDeleteTopicsResponseTopic()
		t.Topic, t.TopicID = d.name, d.id
		if d.err != nil {
			t.ErrorCode, t.ErrorMessage = d.err.code.Code, d.err.message()
		}
		resp.Topics = append(resp.Topics, t)
	}
	return resp
}

// deletionsIn lists what a request names, a name or id that stands there twice once and refused
// (ControllerApis.deleteTopics).
func deletionsIn(req *kmsg.DeleteTopicsRequest) []deletion {
	topics := req.Topics
	if req.Version < deleteByIDVersion {
		topics = nil
		for _, name := range req.TopicNames {
			topics = append(topics, kmsg.DeleteTopicsRequestTopic{Topic: &name})
		}
	}
	var deletions []deletion
	names, ids := map[string]int{}, map[[16]byte]int{} // to indexes in deletions
	for _, t := range topics {
		d := deletion{name: t.Topic, id: t.TopicID}
		switch {
		case t.Topic == nil && t.TopicID == [16]byte{}:
			d.err = failure(kerr.InvalidRequest, "Neither topic name nor id were specified.")
		case t.Topic != nil && t.TopicID != [16]byte{}:
			d.err = failure(kerr.InvalidRequest, "You may not specify both topic name and topic id.")
		case t.Topic != nil:
			if i, seen := names[*t.Topic]; seen {
				deletions[i].err = failure(kerr.InvalidRequest, "Duplicate topic name.")
				continue
			}
			names[*t.Topic] = len(deletions)
		default:
			if i, seen := ids[t.TopicID]; seen {
				deletions[i].err = failure(kerr.InvalidRequest, "Duplicate topic id.")
				continue
			}
			ids[t.TopicID] = len(deletions)
		}
		deletions = append(deletions, d)
	}
	return deletions
}

// delete deletes the topics that nothing speaks against, in one commit, and completes all deletions.
func (h *deleteTopics) delete(deletions []deletion) {
	var judged []deletion
	_, err := commitJudged(h.broker, h.store, func(image *catalog.Image) []catalog.Change {
		judged = slices.Clone(deletions)
		return findDeletions(image, judged)
	})
	gone := 0
	for i := range judged {
		d := &judged[i]
		if d.err != nil {
			continue
		}
		if gone++; err != nil {
			d.err = plain(errorOf(err))
		} else {
			h.log.Info().Str("topic", *d.name).Str("id", catalog.FormatID(d.id)).Msg("topic deleted")
		}
	}
	if err != nil {
		h.log.Error().Err(err).Int("topics", gone).Msg("topics could not be deleted")
	}
	copy(deletions, judged)
}

// findDeletions completes names and ids and returns the changes that delete the topics.
func findDeletions(image *catalog.Image, deletions []deletion) []catalog.Change {
	var changes []catalog.Change
	byID := map[[16]byte]int{} // to indexes in deletions
	for i := range deletions {
		d := &deletions[i]
		if d.err != nil {
			continue
		}
		var topic *catalog.Topic
		var ok bool
		if d.name != nil {
			if topic, ok = image.Topic(*d.name); !ok {
				d.err = plain(kerr.UnknownTopicOrPartition)
				continue
			}
		} else if topic, ok = image.TopicByID(d.id); !ok {
			d.err = plain(kerr.UnknownTopicID)
			continue
		}
		d.name, d.id = &topic.Name, topic.ID
		if first, twice := byID[topic.ID]; twice {
			d.err = failure(kerr.InvalidRequest, "The provided topic name maps to an ID that was already supplied.")
			deletions[first].err = d.err
		}
		byID[topic.ID] = i
	}
	for i := range deletions {
		if deletions[i].err == nil {
			changes = append(changes, catalog.DeleteTopic{ID: deletions[i].id})
		}
	}
	return changes
}
