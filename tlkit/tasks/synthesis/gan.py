"""GAN: one compiled step in which the discriminator and the generator both learn.

Everything random in a step (latents, noise, style mixing, augmentation) follows from (seed, step), so the values of
the variables and the step's number are all that is needed to go on bit for bit.
One forward pass of the fakes serves both networks: gradients of both losses are taken at the same weights
(simultaneous steps, Mescheder 2017), which saves a pass of the generator and one of the discriminator.

Sources: Goodfellow 2014; Mescheder 2018 (R1); Karras 2020 (lazy penalty, ADA); Yazici 2019 (averaged generator).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
import tensorflow as tf

from tlkit.core.seeds import fold
from tlkit.engine.training.adam import FusedAdam
from tlkit.engine.training.ema import follow
from tlkit.engine.training.nan_guard import Findings, examples_not_finite, finite, floats, not_finite, only_if
from tlkit.errors import UsageFault
from tlkit.tasks.synthesis.dcgan import Networks
from tlkit.tasks.synthesis.diffaugment import augment, check_policy
from tlkit.tasks.synthesis.settings import Play

LOSSES = ("non-saturating", "hinge")
SATURATED = 3.0  # before the tanh


class Gradients(NamedTuple):
    """What a step found out before anything is learned.

    Attributes:
        losses: discriminator_loss, generator_loss and r1, scalars.
        discriminator: Gradients of the discriminator's trainable variables, under the loss scale if there is one.
        generator: Those of the generator's.
        sign_real: Mean sign of the discriminator on real images, scalar.
        sign_fake: On fakes.
    """

    losses: dict[str, tf.Tensor]
    discriminator: list
    generator: list
    sign_real: tf.Tensor
    sign_fake: tf.Tensor


class Gan(keras.Model):
    """A generator, a discriminator and the averaged generator from which samples are taken.

    Args:
        networks: The two networks; `average` starts as a copy of the generator.
        play: How they play.
        seed: Of everything random in the steps.

    Attributes:
        average: The generator with averaged weights.
        step: int32 variable: steps done.
        p: float32 variable: the augmentation's probability.

    Raises:
        UsageFault: An augmentation or a loss has an unknown name.
    """

    def __init__(self, networks: Networks, play: Play, seed: int = 0) -> None:
        super().__init__(name="game")
        check_policy(play.augmentation)
        if play.loss not in LOSSES:
            raise UsageFault(f"--loss {play.loss} is not known.", f"Choose from {', '.join(LOSSES)}.")
        self.generator, self.discriminator = networks
        self.play, self.seed = play, seed
        self.average = copy_of(self.generator)
        self.step = self._number("step", 0, "int32")
        self.p = self._number("p", play.p)
        self.signs = self._number("signs", 0.0)  # sum of mean signs since p's last correction
        self.last_r1 = self._number("last_r1", 0.0)
        self.traces = 0  # how often the step was traced; a test counts
        self.begun = 0  # the step after which the networks as they are were begun
        self.built = True
        self.generator_optimizer = self._optimizer(self.generator, play.learning_rate, 1.0)
        self.discriminator_optimizer = self._optimizer(self.discriminator, play.critic_rate, 1.0)
        self.compile(self.generator_optimizer, jit_compile=False)  # XLA doubles a step's time on a CPU

    def _number(self, name: str, value: float, dtype: str = "float32") -> Any:
        return self.add_weight(
            shape=(), initializer=keras.initializers.Constant(value), dtype=dtype, name=name, trainable=False
        )

    def _optimizer(self, network: keras.Model, rate: float, share: float) -> keras.optimizers.Optimizer:
        """A lazy penalty changes the discriminator's rate and memory by its share of the steps (Karras 2020, B)."""
        play = self.play
        optimizer: Any = FusedAdam(rate * share, play.beta_1**share, play.beta_2**share, epsilon=1e-8)
        if network.dtype_policy.compute_dtype == "float16":
            optimizer = keras.optimizers.LossScaleOptimizer(optimizer)
        optimizer.build(network.trainable_variables)
        return optimizer

    @property
    def state(self) -> list[Any]:
        """All variables that a checkpoint holds, in a fixed order."""
        parts = (
            self.generator,
            self.discriminator,
            self.average,
            self.generator_optimizer,
            self.discriminator_optimizer,
        )
        own = [self.step, self.p, self.signs, self.last_r1]
        return [*own, *(variable for part in parts for variable in part.variables)]

    @property
    def images(self) -> int:
        """Real images shown so far, repetitions counted."""
        return int(self.step) * self.play.batch

    def begin_again(self, seed: int) -> None:
        """Draw both networks anew from a seed, and forget what the optimisers remember and how p was steered.

        The number of steps goes on: latents, noise and the order of images, which follow from (seed, step), are then
        others too, and nothing that is reported has two values at one step.
        """
        keras.utils.set_random_seed(seed)
        networks = Networks(
            *(type(one).from_config(one.get_config()) for one in (self.generator, self.discriminator))
        )
        fresh = Gan(networks, self.play, self.seed)
        for kept, new in zip(self.state, fresh.state, strict=True):
            if kept is not self.step:
                kept.assign(new)
        self.begun = int(self.step)

    def halve_rates(self) -> None:
        """Halve both learning rates."""
        for optimizer in (self.generator_optimizer, self.discriminator_optimizer):
            optimizer.learning_rate.assign(optimizer.learning_rate * 0.5)

    # --- one step ---

    def train_step(self, data: tuple[tf.Tensor, tf.Tensor]) -> dict[str, tf.Tensor]:
        """Let both networks learn from real images float32 [b, s, s, c], -1..1, and labels int32 [b].

        Where a loss, a gradient, a weight or a real image is not finite, nothing is learned, the step is not counted,
        and both losses are NaN.
        """
        self.traces += 1
        found = self.gradients(*data)
        # under a loss scale gradients overflow as a matter of course, and the optimiser passes over them itself
        scaled = isinstance(self.discriminator_optimizer, keras.optimizers.LossScaleOptimizer)
        asked = [] if scaled else [*found.discriminator, *found.generator]
        weights = [
            variable.value
            for network in (self.generator, self.discriminator)
            for variable in network.trainable_variables
        ]
        sound = finite([*floats([*data, *weights]), *found.losses.values(), *asked])
        only_if(sound, lambda: self._learn(found))
        lost = {name: tf.where(sound, loss, math.nan) for name, loss in found.losses.items() if name != "r1"}
        return {
            **lost,
            "sign_real": found.sign_real,
            "sign_fake": found.sign_fake,
            "p": self.p.value,
            "r1": self.last_r1.value,
        }

    def gradients(self, reals: tf.Tensor, labels: tf.Tensor) -> Gradients:
        """Losses and gradients of both networks in the step that is next; nothing changes."""
        play, seed = self.play, fold(tf.constant([self.seed % 2**31, 0], tf.int32), self.step.value)
        # the same kind of change for both (Zhao 2020, equations 1 to 3): what differs is seen
        reals = augment(reals, fold(seed, 0), self.p.value, play.augmentation)
        latents = tf.random.stateless_normal([tf.shape(reals)[0], self.generator.latent], fold(seed, 1))
        with tf.GradientTape(persistent=True) as tape:
            sampled = self.generator.sample(latents, labels, fold(seed, 2), play.mixing)
            changed = augment(tf.tanh(sampled), fold(seed, 3), self.p.value, play.augmentation)
            # one pass serves both losses: equal weights, simultaneous steps
            on_fake = self.discriminator(changed, labels, training=True)
            on_real = self.discriminator(reals, labels, training=True)
            discriminator_loss, generator_loss = losses(on_real, on_fake, play.loss)
            scaled = self.discriminator_optimizer.scale_loss(discriminator_loss)
            pulled = (
                generator_loss + play.saturation * saturation(sampled) if play.saturation else generator_loss
            )
            generator_scaled = self.generator_optimizer.scale_loss(pulled)
        # an embedding's gradient comes as slices, which cannot be added up
        gradients = [
            tf.convert_to_tensor(g) for g in tape.gradient(scaled, self.discriminator.trainable_variables)
        ]
        generator_gradients = tape.gradient(generator_scaled, self.generator.trainable_variables)
        gradients, r1 = self._penalised(gradients, reals, labels)
        lost = {"critic_loss": discriminator_loss, "generator_loss": generator_loss, "r1": r1}
        signs = tf.reduce_mean(tf.sign(on_real)), tf.reduce_mean(tf.sign(on_fake))
        return Gradients(lost, gradients, generator_gradients, *signs)

    def _learn(self, found: Gradients) -> None:
        """Everything that a step changes."""
        self.discriminator_optimizer.apply(found.discriminator, self.discriminator.trainable_variables)
        self.generator_optimizer.apply(found.generator, self.generator.trainable_variables)
        self.last_r1.assign(found.losses["r1"])
        self._steer(found.sign_real)
        self._remember()

    def _penalised(self, gradients: list, reals: tf.Tensor, labels: tf.Tensor) -> tuple[list, tf.Tensor]:
        """Add the gradient of R1 in every `r1_every`th step; a branch not taken costs nothing.

        Returns:
            The gradients, and the squared slope of the score at real images, that of an earlier step where none
            was due.
        """
        play = self.play
        if not play.r1:
            return gradients, self.last_r1.value

        def penalty() -> list:
            with tf.GradientTape() as outer:
                with tf.GradientTape() as inner:
                    inner.watch(reals)
                    # the sum's gradient holds each image's own: none depends on another
                    score = tf.reduce_sum(self.discriminator(reals, labels, training=True))
                slope = tf.cast(inner.gradient(score, reals), tf.float32)
                # E |grad D(x)|^2 (Mescheder 2018, equation 9), over pixels in -1..1
                squared = tf.reduce_mean(tf.reduce_sum(tf.square(slope), [1, 2, 3]))
                # gamma / 2, and times the steps that go without (lazy: Karras 2020, appendix B)
                loss = self.discriminator_optimizer.scale_loss(squared * (play.r1 * 0.5 * play.r1_every))
            more = outer.gradient(loss, self.discriminator.trainable_variables)
            # the last bias does not bend the score: its gradient is None
            added = [
                a if b is None else a + tf.convert_to_tensor(b) for a, b in zip(gradients, more, strict=True)
            ]
            return [*added, squared]

        due = self.step.value % play.r1_every == 0
        *gradients, r1 = tf.cond(due, penalty, lambda: [*gradients, tf.identity(self.last_r1.value)])
        return gradients, r1

    def _steer(self, sign_real: tf.Tensor) -> None:
        """ADA: move p up while the discriminator is too sure of real images, else down (Karras 2020, section 3)."""
        play = self.play
        if play.ada is None:
            return
        due = (self.step.value + 1) % play.ada_every == 0
        signs = self.signs.value + sign_real
        # r_t = E[sign D(real)] (Karras 2020 ADA, equation 1) against its target; p crosses 0..1 in ada_images
        move = tf.sign(signs / play.ada_every - play.ada) * (play.batch * play.ada_every / play.ada_images)
        moved = tf.clip_by_value(self.p.value + move, 0.0, play.p_max)
        self.p.assign(tf.where(due, moved, self.p.value))
        self.signs.assign(tf.where(due, 0.0, signs))

    def _remember(self) -> None:
        """Count the step and pull the averaged generator towards the generator."""
        self.step.assign_add(1)
        play = self.play
        seen = tf.cast(self.step.value, tf.float32) * play.batch
        # half-life in images, short at first, so that the average does not remember the first draw
        half = tf.maximum(tf.minimum(tf.constant(play.ema, tf.float32), seen * play.ema_rampup), 1e-3)
        # share of the new weights in this step: after `half` images half is left of the old
        part = 1.0 - tf.pow(0.5, play.batch / half)
        kept, live = ([one.value for one in some.variables] for some in (self.average, self.generator))
        follow(kept, live, part)

    # --- evaluating ---

    def discriminator_scores(
        self, images: np.ndarray, labels: Sequence[int] | np.ndarray | None = None
    ) -> np.ndarray:
        """float32 [n]: the discriminator's scores of images float32 [n, s, s, c], 0..1; above 0 is "real".

        The share above 0 of held-out real images falls behind that of the training images when the discriminator
        learns these by heart.
        """
        if not hasattr(self, "_scored"):
            self._scored = tf.function(lambda x, y: self.discriminator(x * 2 - 1, y), reduce_retracing=True)
        labels = np.zeros(len(images)) if labels is None else labels
        batch = self.play.batch
        scores = [
            self._scored(
                tf.constant(images[i : i + batch], tf.float32), tf.constant(labels[i : i + batch], tf.int32)
            )
            for i in range(0, len(images), batch)
        ]
        return np.concatenate(scores) if scores else np.zeros(0, np.float32)


def losses(on_real: tf.Tensor, on_fake: tf.Tensor, kind: str) -> tuple[tf.Tensor, tf.Tensor]:
    """The discriminator's and the generator's loss of scores float32 [n]."""
    if kind == "hinge":
        # Lim 2017, section 3: beyond the margin nothing is learned
        discriminator = tf.reduce_mean(tf.nn.relu(1 - on_real)) + tf.reduce_mean(tf.nn.relu(1 + on_fake))
        return discriminator, -tf.reduce_mean(on_fake)
    # -log D(x) - log(1 - D(G(z))) of logits (Goodfellow 2014, equation 1): softplus(-a) = -log sigmoid(a)
    discriminator = tf.reduce_mean(tf.nn.softplus(-on_real)) + tf.reduce_mean(tf.nn.softplus(on_fake))
    # -log D(G(z)), which has a slope where the discriminator wins (section 3)
    return discriminator, tf.reduce_mean(tf.nn.softplus(-on_fake))


def saturation(sampled: tf.Tensor) -> tf.Tensor:
    """Mean square by which what goes into the tanh lies beyond +-3, scalar.

    The first thing that a discriminator sees is how bright images are, and the generator's weights, all moved the
    same way, swing between black and white. Beyond 3 the tanh's slope is below 0.01: a swing that ends there is
    answered by no gradient, and all samples stay one image. This is the gradient that leads back; tanh(3) is
    0.995, within a step of 8-bit pixels of what is given up.
    """
    return tf.reduce_mean(tf.square(tf.nn.relu(tf.abs(sampled) - SATURATED)))


def look_at_gan(gan: Gan, batch: tuple[Any, Any]) -> Findings:
    """Compute the GAN's next step with this batch, change nothing, and say what is not finite."""
    found = tf.function(gan.gradients, autograph=False)(*map(tf.convert_to_tensor, batch))
    networks = {"critic": gan.discriminator, "generator": gan.generator}
    learned = [
        f"{name}/{variable.path}"
        for name, network in networks.items()
        for variable in network.trainable_variables
    ]
    pairs = zip(learned, [*found.discriminator, *found.generator], strict=True)
    weights = (
        f"{name}/{path}" for name, network in networks.items() for path in not_finite(network.variables)
    )
    return Findings(
        loss={name: float(value) for name, value in found.losses.items()},
        gradients=tuple(name for name, slope in pairs if not bool(finite([slope]))),
        asked=len(learned),
        weights=tuple(weights),
        inputs=examples_not_finite(batch),
    )


def copy_of(network: keras.Model) -> keras.Model:
    """A second network of the same make with the same weights."""
    copy = type(network).from_config(network.get_config())
    for kept, new in zip(copy.variables, network.variables, strict=True):
        kept.assign(new)
    return copy
