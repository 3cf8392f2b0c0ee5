// The order of review, as bcdseg/app/reviews/review.py computes it.

const CONTRADICTIONS = ["outlined-but-no-lesion", "no-outline"];
const NOTABLE = 0.5; // from which uncertainty is a reason

/** Return the priority of a scan for review, from 0 to 2, and the reasons in words. */
export function priority(prediction, probability, threshold, negative) {
  const shares = Object.values(prediction.probabilities);
  const contradicts = prediction.flags.some(({ code }) => CONTRADICTIONS.includes(code));
  const reasons = contradicts ? ["class and outline contradict each other"] : [];
  const uncertainty = shares.length ? entropy(shares) : ofOutline(prediction, probability);
  if (uncertainty >= NOTABLE) reasons.push(shares.length ? "the class is uncertain" : "the outline is uncertain");
  let near = 0;
  if (threshold !== null && negative !== null && shares.length) {
    const presence = 1 - prediction.probabilities[negative];
    near = closeness(presence, threshold);
    if (near >= NOTABLE) reasons.push(`the probability of a lesion, ${percent(presence)}, is near the threshold of ${percent(threshold)}`);
  }
  const unlikeness = prediction.ood_score === null ? 0 : Math.min(1, Math.max(0, 2 * prediction.ood_score - 1));
  if (unlikeness >= NOTABLE) reasons.push("the scan is unlike the training scans");
  return { score: Number(contradicts) + Math.max(uncertainty, near, unlikeness), reasons };
}

/** Return the entropy of probabilities as a fraction of the highest possible one. */
function entropy(shares) {
  if (shares.length < 2) return 0;
  return -shares.filter((share) => share > 0).reduce((total, share) => total + share * Math.log(share), 0) / Math.log(shares.length);
}

/** Return 1 at the threshold, decreasing to 0 at 0 % and 100 %. */
function closeness(presence, threshold) {
  return 1 - Math.abs(presence - threshold) / (presence >= threshold ? 1 - threshold : threshold);
}

function ofOutline({ lesions }, probability) {
  if (!probability) return 0;
  return 1 - Math.abs(2 * (lesions.length ? lesions[0].probability : probability.reduce((one, other) => Math.max(one, other))) - 1);
}

/** Return a probability as the library writes it in warnings. */
export const percent = (share) => `${(100 * share).toFixed(1)} %`;
