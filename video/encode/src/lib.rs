//! From a source to encoded frames: the encoders, the watch over them, and the thread that runs them.

mod bitstream;
mod choice;
mod encoder;
mod fit;
mod guard;
mod order;
mod pipeline;
mod software;
pub mod v4l2_m2m;
mod watchdog;

pub use choice::{EncoderChoice, UnknownEncoder};
pub use encoder::{Encoded, EncoderError, EncoderSource, OpenEncoder, Opening, VideoEncoder};
pub use fit::{exceeds, scaled_into};
pub use order::EncoderOrder;
pub use pipeline::{Failure, MotionPlan, Pipeline, PipelineEvent, Plan};
pub use software::{SoftwareEncoder, measure, measure_encoder_fps};
