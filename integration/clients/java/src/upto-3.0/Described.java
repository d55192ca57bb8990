import java.util.List;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.TopicDescription;

/** What a topic's description is asked for by, up to Kafka 3.0. */
final class Described {
    private Described() {}

    static TopicDescription topic(Admin admin, String name) throws ExecutionException, InterruptedException {
        return admin.describeTopics(List.of(name)).all().get().get(name);
    }
}
