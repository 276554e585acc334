"""What every column of the leaderboard and of recovery.csv means, as data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Metric:
    """What a column of the leaderboard means; labels and directions of reports derive from it."""

    name: str
    label: str
    description: str
    unit: str = ""
    better: Literal["lower", "higher", "nearer 1", "nearer empty", "none"] = "none"


METRICS = (
    Metric("kl", "KL", "KL(full model || circuit) at the answer, whole vocabulary, mean over examples",
           "nats", "lower"),
    Metric("kl_low", "KL 2.5 %", "Lower end of the 95 % interval of kl over these prompts: other prompts of "
           "the same templates", "nats"),
    Metric("kl_high", "KL 97.5 %", "Upper end of that interval", "nats"),
    Metric("recovered", "Recovered", "1 - kl / kl of the empty circuit: 1 is the model, 0 is nothing, below "
           "0 is worse than nothing", "share", "higher"),
    Metric("recovered_low", "Recovered 2.5 %", "Lower end of its 95 % interval over these prompts", "share"),
    Metric("recovered_high", "Recovered 97.5 %", "Upper end of that interval", "share"),
    Metric("recovered_rewired", "Recovered, rewired", "That of its null: a fifth of the circuit's edges "
           "replaced by others whose ends are of the same kinds and layers", "share"),
    Metric("recovered_new", "Recovered, new templates", "1 - exp(log_gap_new): of the typical template that "
           "no method saw, 0.99 at most", "share", "higher"),
    Metric("recovered_new_low", "Recovered, new 2.5 %", "Lower end of its 95 % interval over new templates",
           "share"),
    Metric("recovered_new_high", "Recovered, new 97.5 %", "Upper end of that interval", "share"),
    Metric("log_gap", "Log gap", "Mean over templates of log max(kl / kl of the empty circuit, 0.01)",
           "", "lower"),
    Metric("log_gap_low", "Log gap 2.5 %", "Lower end of its 95 % interval over these prompts"),
    Metric("log_gap_high", "Log gap 97.5 %", "Upper end of that interval"),
    Metric("log_gap_new", "Log gap, new templates", "The same over templates that no method saw: what "
           "methods are compared by", "", "lower"),
    Metric("log_gap_new_low", "Log gap, new 2.5 %", "Lower end of its 95 % interval over new templates"),
    Metric("log_gap_new_high", "Log gap, new 97.5 %", "Upper end of that interval"),
    Metric("recovered_seeds", "Recovered, over seeds", "1 - exp(mean log_gap_new of all data seeds), the "
           "same in each row of a method at a size", "share", "higher"),
    Metric("recovered_seeds_low", "Recovered, over seeds 2.5 %", "Lower end of its 95 % interval over new "
           "data seeds and templates", "share"),
    Metric("recovered_seeds_high", "Recovered, over seeds 97.5 %", "Upper end of that interval", "share"),
    Metric("over_seeds", "Interval over seeds", "What that interval is over, or why it is not to be had",
           "text"),
    Metric("data_seeds", "Data seeds", "Discovery sets that it is over", "seeds"),
    Metric("cell", "Cell", "ranks: two methods, neither of them random, are above the floor of log_gap by "
           "two standard errors, in the cell of model, task, ablation, graph and size; else all the same; "
           "empty where nothing can be said", "text"),
    Metric("templates", "Templates", "Wordings among the evaluation prompts", "templates"),
    Metric("kl_candidates", "KL (candidates)", "The same KL among the task's candidates, renormalised",
           "nats", "lower"),
    Metric("squared_error", "Squared error", "Squared difference to the full model's output, where the "
           "output is a number (compiled programs)", "", "lower"),
    Metric("accuracy", "Accuracy", "Most likely token is a correct answer", "share", "higher"),
    Metric("exact_match", "Exact match", "Most likely token is the full model's", "share", "higher"),
    Metric("choice_accuracy", "Choice accuracy", "Most likely candidate is a correct answer", "share",
           "higher"),
    Metric("chance", "Chance", "Choice accuracy of blind guessing among the candidates", "share"),
    Metric("logit_diff", "Logit difference", "Correct minus wrong candidates, mean logits", "logits"),
    Metric("prob_diff", "Probability difference", "Correct minus wrong candidates, probability", "share"),
    Metric("kendall_tau", "Kendall's tau", "Agreement with the full model's order of the candidates "
           "(tasks with many)", "", "higher"),
    Metric("faithfulness", "Faithfulness", "(m(circuit) - m(empty)) / (m(full) - m(empty)), m the task's "
           "difference metric; not clipped; left out when full and empty hardly differ", "", "nearer 1"),
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
    Metric("complement_kl", "Complement KL", "KL(full model || complement): all that the circuit kept is "
           "removed; the empty circuit's is its kl", "nats", "nearer empty"),
    Metric("complement_accuracy", "Complement accuracy", "Accuracy of the complement", "share",
           "nearer empty"),
    Metric("complement_choice_accuracy", "Complement choice accuracy", "Choice accuracy of the complement",
           "share", "nearer empty"),
    Metric("complement_choice_probability", "Complement choice probability", "That the complement gives to "
           "the correct candidates, among the candidates: where it prefers none, its choice is an accident",
           "share", "nearer empty"),
    Metric("complement_loss", "Complement loss", "(m(full) - m(complement)) / (m(full) - m(empty)), 1 being "
           "the empty circuit's; any large circuit reaches it, so read the margin", "", "nearer 1"),
    Metric("complement_loss_low", "Complement loss 2.5 %", "Lower end of its 95 % interval over these "
           "prompts"),
    Metric("complement_loss_high", "Complement loss 97.5 %", "Upper end of that interval"),
    Metric("complement_loss_margin", "Margin over random", "How much nearer to 1 complement loss is than "
           "that of random connected circuits as large: mean |1 - theirs| - |1 - ours|", "", "higher"),
    Metric("complement_loss_margin_low", "Margin 2.5 %", "Lower end of its 95 % interval over the random "
           "circuits drawn, the same noise for every method of a size"),
    Metric("complement_loss_margin_high", "Margin 97.5 %", "Upper end of that interval"),
    Metric("p_necessity", "p, partial necessity", "Of 'the complement is no nearer to the empty circuit than "
           "those of random connected circuits as large', by complement loss"),
    Metric("p_sufficiency", "p, sufficiency", "Of 'the circuit is no nearer to the model than random "
           "connected ones as large', by KL"),
    Metric("incompleteness_mean", "Incompleteness, mean", "|m(circuit less K) - m(model less K)| over "
           "|m(full) - m(empty)|, mean over 50 random sets K of the circuit's edges", "share", "lower"),
    Metric("incompleteness_max", "Incompleteness, maximum", "The same of the worst of these sets", "share",
           "lower"),
    Metric("idle_share", "Idle edges", "Share of kept edges whose removal from the circuit costs less than "
           "1 % of the empty circuit's KL", "share", "lower"),
    Metric("unneeded_share", "Unneeded edges", "Share of kept edges that the test of minimality rejects at "
           "5 %", "share", "lower"),
    Metric("p_minimality", "p, minimality", "Of 'the removal of each edge costs more than that of 90 % of "
           "random added ones', the smallest of all edges, adjusted for their number"),
    Metric("ahead_share", "Ahead", "Share of templates in which the circuit's m is above the model's, ties "
           "half", "share"),
    Metric("p_equivalence", "p, equivalence", "Of 'the circuit is ahead of the model in 40 to 60 % of "
           "templates'"),
    Metric("dependence", "Dependence", "Of what the complement says on what the model says, from 0 to 1 "
           "(HSIC, normalised)", "share"),
    Metric("p_independence", "p, independence", "Of 'they are independent', by permutation within templates"),
    Metric("dependence_empty", "Dependence, empty", "The same of the empty circuit in the complement's place",
           "share"),
    Metric("p_independence_empty", "p, independence of empty", "The same of the empty circuit"),
    Metric("untested", "Untested", "Which tests of the circuit are not to be had, and why", "text"),
    Metric("edges_kept", "Edges kept", "Edges in the circuit", "edges"),
    Metric("edges_filled", "Edges filled in", "Edges, by the method's scores, that fill up a circuit for "
           "which it named fewer than asked for", "edges"),
    Metric("edges_rewired", "Edges rewired", "Edges of the circuit that its null has not; an edge without "
           "another of its kinds and layers stays", "edges"),
    Metric("oversize", "Oversize", "Whether the circuit has more edges than asked for; it is shown, and not "
           "ranked"),
    Metric("edge_sparsity", "Edge sparsity", "Share of edges removed", "share"),
    Metric("effective_edges", "Effective edges", "Kept edges that can matter: on a path to the logits and, "
           "under resample, from the input", "edges"),
    Metric("unaided_edges", "Unaided edges", "Edges of the circuit that the method settles on when asked for "
           "no size", "edges"),
    Metric("seed_overlap", "Overlap over seeds", "Mean Jaccard similarity (edges in both over edges in "
           "either) with the circuits of the other seeds", "share", "none"),
    Metric("exact_correlation", "Correlation with exact", "Spearman's rank correlation of the method's "
           "absolute scores of edges with those of `exact`, where that ran on the same data"),
    Metric("nodes_kept", "Nodes kept", "Heads and MLPs that have a kept edge", "nodes"),
    Metric("pruned", "Pruned", "What the circuit leaves out: edges, or weights and edges; these compete with "
           "each other alone", "text"),
    Metric("weight_density", "Weight density", "Share of the weights kept of all attention and MLP "
           "matrices; 1 when none was pruned", "share"),
    Metric("effective_weight_density", "Effective weight density", "Share of those weights that is kept and "
           "belongs to a head or MLP that an effective edge leaves", "share"),
    Metric("seconds", "Seconds", "Discovery, one run, caches charged to it", "s", "lower"),
    Metric("cpu_seconds", "CPU seconds", "Discovery in CPU time, on all of its threads", "s", "lower"),
    Metric("sized_cpu_seconds", "CPU seconds (sizes)", "Of these, those not for the unaided circuit alone",
           "s", "lower"),
    Metric("data_seconds", "Seconds (prompts)", "Drawing the discovery prompts, by the clock; not in seconds",
           "s", "lower"),
    Metric("forward_equivalents", "Forward equivalents", "CPU seconds over those of one plain forward of the "
           "discovery set in the same process; on a device, seconds", "forwards", "lower"),
    Metric("forwards", "Forwards", "Forward passes of a batch during discovery", "passes"),
    Metric("backwards", "Backwards", "Backward passes of a batch during discovery", "passes"),
    Metric("tokens", "Tokens", "Tokens that went through a forward pass", "tokens"),
    Metric("peak_memory_mb", "Peak memory", "Most memory that the discovery's own process has held, "
           "libraries included", "MB", "lower"),
)  # fmt: skip

RECOVERY_METRICS = (
    Metric("unaided_exact", "Exact", "The circuit that the method settles on itself, with one fixed setting "
           "and no size given, is the true one", "programs", "higher"),
    Metric("tpr", "TPR", "Share of the true edges in that circuit", "share", "higher"),
    Metric("fpr", "FPR", "Share of the other edges in that circuit", "share", "lower"),
    Metric("f1", "F1", "Harmonic mean of that circuit's precision and of tpr", "", "higher"),
    Metric("auroc", "AUROC", "Area under the ROC curve of the method's scores, all edges of the graph; 0.5 "
           "is blind", "", "higher"),
    Metric("average_precision", "AP", "Average precision of the method's scores", "", "higher"),
    Metric("exact_at_true_size", "Exact at true size", "Every true edge scores above every other one: what a "
           "method would find if an oracle told it the size", "programs", "higher"),
    Metric("margin", "Margin", "Lowest score of a true edge minus the highest of another, over the "
           "largest score; exactness by less than 1e-6 hangs on the machine's arithmetic", "", "higher"),
)  # fmt: skip
"""What a row of recovery.csv means: a method's circuit of a compiled program beside the true one."""
