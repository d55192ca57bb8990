// Package catalog is the broker's memory of what exists: topics with their ids, partition counts and configs, topics
// whose data is still being deleted, broker configs that were altered while running, how often the broker has
// started, and which producer ids were handed out.
//
// An Image is all of it at one version. A Change is a step from one image to the next; Image.Apply takes the step
// and touches nothing else, so that whoever replays the same changes holds the same image. A Store keeps the changes:
// it makes them durable, one commit after the other, and only then shows the image that they lead to.
//
// Invariants: an Image and the Topics in it never change once they are made, and share what they have in common with
// the image before, so that an image costs what its changes cost and not what the catalog holds. A topic is in an
// image whole or not at all. Names of live topics are unique, also if '.' and '_' are taken for the same; ids are
// unique among live and deleted ones. Version, start count and producer ids never go back.
//
// Errors that a client may see carry Kafka's code as a *kerr.Error.
package catalog
