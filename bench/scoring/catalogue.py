"""What every column of the leaderboard and of recovery.csv means, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a column of the leaderboard means; reports take labels and directions from it."""

    name: str
    label: str
    description: str
    unit: str = ""
    better: Literal["lower", "higher", "nearer 1", "nearer empty", "none"] = "none"


METRICS = (
    Metric("kl", "KL", "KL(full model || circuit) at the answer, over the whole vocabulary, mean over "
           "examples", "nats", "lower"),
    Metric("kl_low", "KL 2.5 %", "Lower end of the 95 % interval of kl over these prompts, that is, over "
           "other prompts of the same templates", "nats"),
    Metric("kl_high", "KL 97.5 %", "Upper end of that interval", "nats"),
    Metric("recovered", "Recovered", "1 - kl / kl of the empty circuit: 1 is the full model, 0 the empty "
           "circuit, below 0 worse than the empty circuit", "share", "higher"),
    Metric("recovered_low", "Recovered 2.5 %", "Lower end of its 95 % interval over these prompts", "share"),
    Metric("recovered_high", "Recovered 97.5 %", "Upper end of that interval", "share"),
    Metric("recovered_rewired", "Recovered, rewired", "Recovered by the circuit's null: a fifth of its edges "
           "replaced by others whose ends are of the same kinds and layers", "share"),
    Metric("recovered_new", "Recovered, new templates", "1 - exp(log_gap_new): recovered on a typical "
           "template that no method saw; at most 0.99", "share", "higher"),
    Metric("recovered_new_low", "Recovered, new 2.5 %", "Lower end of its 95 % interval over new templates",
           "share"),
    Metric("recovered_new_high", "Recovered, new 97.5 %", "Upper end of that interval", "share"),
    Metric("log_gap", "Log gap", "Mean over templates of log max(kl / kl of the empty circuit, 0.01)",
           "", "lower"),
    Metric("log_gap_low", "Log gap 2.5 %", "Lower end of its 95 % interval over these prompts"),
    Metric("log_gap_high", "Log gap 97.5 %", "Upper end of that interval"),
    Metric("log_gap_new", "Log gap, new templates", "log_gap over templates that no method saw; methods are "
           "compared by it", "", "lower"),
    Metric("log_gap_new_low", "Log gap, new 2.5 %", "Lower end of its 95 % interval over new templates"),
    Metric("log_gap_new_high", "Log gap, new 97.5 %", "Upper end of that interval"),
    Metric("recovered_seeds", "Recovered, over seeds", "1 - exp(mean log_gap_new over all data seeds); the "
           "same in every row of a method at a size", "share", "higher"),
    Metric("recovered_seeds_low", "Recovered, over seeds 2.5 %", "Lower end of its 95 % interval over new "
           "data seeds and templates", "share"),
    Metric("recovered_seeds_high", "Recovered, over seeds 97.5 %", "Upper end of that interval", "share"),
    Metric("over_seeds", "Interval over seeds", "What the interval of recovered_seeds covers, or why there "
           "is none", "text"),
    Metric("data_seeds", "Data seeds", "Number of discovery sets that recovered_seeds is over", "seeds"),
    Metric("cell", "Cell", "Whether methods can be ranked in this cell of model, task, ablation, graph and "
           "size. ranks: at least two methods, random circuits aside, are above the floor of log_gap by two "
           "standard errors; all the same: fewer are; empty: nothing can be said", "text"),
    Metric("templates", "Templates", "Number of wordings among the evaluation prompts", "templates"),
    Metric("kl_candidates", "KL (candidates)", "KL(full model || circuit) among the task's candidates, "
           "renormalised", "nats", "lower"),
    Metric("squared_error", "Squared error", "Squared difference from the full model's output, where the "
           "output is a number (compiled programs)", "", "lower"),
    Metric("accuracy", "Accuracy", "Share of answers where the most likely token is a correct answer",
           "share", "higher"),
    Metric("exact_match", "Exact match", "Share of answers where the most likely token is also the full "
           "model's", "share", "higher"),
    Metric("choice_accuracy", "Choice accuracy", "Share of answers where the most likely candidate is "
           "correct", "share", "higher"),
    Metric("chance", "Chance", "Choice accuracy of blind guessing among the candidates", "share"),
    Metric("logit_diff", "Logit difference", "Mean logit of the correct minus that of the wrong candidates",
           "logits"),
    Metric("prob_diff", "Probability difference", "Probability of the correct minus that of the wrong "
           "candidates", "share"),
    Metric("kendall_tau", "Kendall's tau", "Agreement between the full model's and the circuit's order of "
           "the candidates (tasks with many)", "", "higher"),
    Metric("faithfulness", "Faithfulness", "(m(circuit) - m(empty)) / (m(full) - m(empty)), where m is the "
           "task's difference metric; not clipped; unscored where full and empty hardly differ",
           "", "nearer 1"),
    Metric("faithfulness_low", "Faithfulness 2.5 %", "Lower end of its 95 % interval over these prompts"),
    Metric("faithfulness_high", "Faithfulness 97.5 %", "Upper end of that interval"),
    Metric("cpr", "CPR", "Area under faithfulness over the share of edges, 0.1 % to 100 %, by signed score",
           "", "higher"),
    Metric("cmd", "CMD", "Area under |1 - faithfulness| over the share of edges, by absolute score", "",
           "lower"),
    Metric("cpr_log", "CPR (log)", "Mean faithfulness over the logarithm of the share", "", "higher"),
    Metric("cmd_log", "CMD (log)", "Mean |1 - faithfulness| over the logarithm of the share", "", "lower"),
    Metric("acc_auc", "acc-AUC", "Mean share of examples whose difference metric is above 0, over the "
           "logarithm of the share, by signed score", "share", "higher"),
    Metric("complement_kl", "Complement KL", "KL(full model || complement), where all that the circuit keeps "
           "is removed; compare it with the kl of the empty circuit", "nats", "nearer empty"),
    Metric("complement_accuracy", "Complement accuracy", "Accuracy of the complement", "share",
           "nearer empty"),
    Metric("complement_choice_accuracy", "Complement choice accuracy", "Choice accuracy of the complement",
           "share", "nearer empty"),
    Metric("complement_choice_probability", "Complement choice probability", "The complement's probability "
           "of the correct candidates, among the candidates; if it prefers none, its choice is an accident",
           "share", "nearer empty"),
    Metric("complement_loss", "Complement loss", "(m(full) - m(complement)) / (m(full) - m(empty)); 1 where "
           "the complement's m is the empty circuit's. Any large circuit reaches 1, so read the margin",
           "", "nearer 1"),
    Metric("complement_loss_low", "Complement loss 2.5 %", "Lower end of its 95 % interval over these "
           "prompts"),
    Metric("complement_loss_high", "Complement loss 97.5 %", "Upper end of that interval"),
    Metric("complement_loss_margin", "Margin over random", "How much nearer to 1 the complement loss is than "
           "that of random connected circuits with as many edges: mean |1 - theirs| - |1 - ours|",
           "", "higher"),
    Metric("complement_loss_margin_low", "Margin 2.5 %", "Lower end of its 95 % interval over the random "
           "circuits drawn; every method of a size shares this noise"),
    Metric("complement_loss_margin_high", "Margin 97.5 %", "Upper end of that interval"),
    Metric("p_necessity", "p, partial necessity", "p of 'its complement loss is no nearer to 1 than that of "
           "random connected circuits with as many edges'"),
    Metric("p_sufficiency", "p, sufficiency", "p of 'its KL is no lower than that of random connected "
           "circuits with as many edges'"),
    Metric("incompleteness_mean", "Incompleteness, mean", "|m(circuit without K) - m(model without K)| / "
           "|m(full) - m(empty)|, mean over 50 random sets K of the circuit's edges", "share", "lower"),
    Metric("incompleteness_max", "Incompleteness, maximum", "The same, maximum over these sets",
           "share", "lower"),
    Metric("idle_share", "Idle edges", "Share of kept edges whose removal from the circuit costs less than "
           "1 % of the empty circuit's KL", "share", "lower"),
    Metric("unneeded_share", "Unneeded edges", "Share of kept edges that the test of minimality rejects at "
           "5 %", "share", "lower"),
    Metric("p_minimality", "p, minimality", "p of 'the removal of each edge costs more than that of 90 % of "
           "random added edges': the smallest over the edges, adjusted for their number"),
    Metric("ahead_share", "Ahead", "Share of templates in which the circuit's m is above the model's; ties "
           "count half", "share"),
    Metric("p_equivalence", "p, equivalence", "p of 'the circuit is ahead of the model in 40 to 60 % of "
           "templates'"),
    Metric("dependence", "Dependence", "Dependence of the complement's output on the model's, from 0 to 1 "
           "(HSIC, normalised)", "share"),
    Metric("p_independence", "p, independence", "p of 'they are independent', by permutations within "
           "templates"),
    Metric("dependence_empty", "Dependence, empty", "dependence, for the empty circuit instead of the "
           "complement", "share"),
    Metric("p_independence_empty", "p, independence of empty", "p_independence, for the empty circuit "
           "instead of the complement"),
    Metric("untested", "Untested", "Which tests of the circuit could not be made, and why", "text"),
    Metric("edges_kept", "Edges kept", "Edges in the circuit", "edges"),
    Metric("edges_filled", "Edges filled in", "Edges added by the method's scores where it named fewer than "
           "requested", "edges"),
    Metric("edges_rewired", "Edges rewired", "Edges of the circuit that its null lacks; an edge that has no "
           "other of its kinds and layers stays", "edges"),
    Metric("oversize", "Oversize", "Whether the circuit has more edges than requested; if so, it is shown "
           "but not ranked"),
    Metric("edge_sparsity", "Edge sparsity", "Share of edges removed", "share"),
    Metric("effective_edges", "Effective edges", "Kept edges that can matter: on a path to the logits and, "
           "under resample, from the input", "edges"),
    Metric("unaided_edges", "Unaided edges", "Edges of the circuit that the method settles on when given no "
           "size", "edges"),
    Metric("seed_overlap", "Overlap over seeds", "Mean Jaccard similarity (edges in both over edges in "
           "either) with the circuits of the other seeds", "share", "none"),
    Metric("exact_correlation", "Correlation with exact", "Spearman's rank correlation of the method's "
           "scores of edges with those of `exact`, where `exact` ran on the same data"),
    Metric("nodes_kept", "Nodes kept", "Heads and MLPs with a kept edge", "nodes"),
    Metric("pruned", "Pruned", "What the circuit leaves out: edges, or weights and edges; circuits compete "
           "only within the same kind", "text"),
    Metric("weight_density", "Weight density", "Share of the weights of all attention and MLP matrices that "
           "is kept; 1 where none was pruned", "share"),
    Metric("effective_weight_density", "Effective weight density", "weight_density, counting only weights of "
           "heads and MLPs that an effective edge leaves", "share"),
    Metric("seconds", "Seconds", "Wall-clock time of discovery, one run, including its caches", "s", "lower"),
    Metric("cpu_seconds", "CPU seconds", "CPU time of discovery, on all of its threads", "s", "lower"),
    Metric("sized_cpu_seconds", "CPU seconds (sizes)", "cpu_seconds without what was spent only on the "
           "unaided circuit", "s", "lower"),
    Metric("data_seconds", "Seconds (prompts)", "Wall-clock time of drawing the discovery prompts; not part "
           "of seconds", "s", "lower"),
    Metric("forward_equivalents", "Forward equivalents", "CPU seconds divided by those of one plain forward "
           "pass over the discovery prompts in the same process; on a device, wall-clock seconds for both",
           "forwards", "lower"),
    Metric("forwards", "Forwards", "Forward passes of a batch during discovery", "passes"),
    Metric("backwards", "Backwards", "Backward passes of a batch during discovery", "passes"),
    Metric("tokens", "Tokens", "Tokens that went through a forward pass", "tokens"),
    Metric("peak_memory_mb", "Peak memory", "The most memory that the discovery's own process held, "
           "libraries included", "MB", "lower"),
)  # fmt: skip

RECOVERY_METRICS = (
    Metric("unaided_exact", "Exact", "Whether the circuit that the method settles on by itself, with one "
           "setting for all programs and no size given, is the true one", "programs", "higher"),
    Metric("tpr", "TPR", "Share of the true edges in the unaided circuit", "share", "higher"),
    Metric("fpr", "FPR", "Share of the other edges of the graph in the unaided circuit", "share", "lower"),
    Metric("f1", "F1", "Harmonic mean of the unaided circuit's precision and tpr", "", "higher"),
    Metric("auroc", "AUROC", "Area under the ROC curve of the method's scores over all edges of the graph; "
           "0.5 is blind guessing", "", "higher"),
    Metric("average_precision", "AP", "Average precision of the method's scores", "", "higher"),
    Metric("exact_at_true_size", "Exact at true size", "Whether every true edge scores above every other "
           "one: what a method would find if an oracle told it the size", "programs", "higher"),
    Metric("margin", "Margin", "Lowest score of a true edge minus the highest of another, divided by the "
           "largest score; below 1e-6 it depends on the machine's arithmetic", "", "higher"),
)  # fmt: skip
"""What a row of recovery.csv means: a method's circuit of a compiled program, compared with the true one."""
